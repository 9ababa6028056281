//! The configured policy of the channels whose names match a pattern. The first rule that matches
//! wins.

mod access;
mod pattern;
mod widened;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

pub use access::Access;
pub use pattern::{InvalidPattern, Pattern, is_segment};
pub use widened::Widened;

use crate::live::Live;
use crate::settings::{Section, Settings};

/// Most rules of a configuration: a channel's policy is looked for among all of them.
pub const RULES_MAX: usize = 1000;

/// Most wildcards of a pattern that Redis tries against each other. With two, the worst name takes it
/// 0.3 ms; with three 30 ms, in which it serves nobody.
pub const LUA_DEPTH_MAX: u32 = 2;

/// The rules as they are now. Cheap to clone; all clones see the same.
#[derive(Clone, Debug, Default)]
pub struct Rules(Live<RuleTable>);

/// All rules of a configuration, in order.
#[derive(Clone, Debug, Default)]
pub struct RuleTable {
    rules: Box<[Rule]>,
    /// Who may do what on a channel that none is about.
    otherwise: Access,
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub pattern: Pattern,
    pub policy: Policy,
    /// Was it written who may do what, rather than left open?
    pub says_access: bool,
}

/// What a node does for a channel. Of itself: keeps nothing, delivers every publication, and lets
/// anyone do everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whom it lets listen, and see who else does and what was published before.
    pub subscribe: Access,
    pub publish: Access,
    /// None: nothing is kept.
    pub history: Option<History>,
    /// Are the users who listen known to each other?
    pub presence: bool,
    pub delivery: Delivery,
}

/// What is kept of a channel's publications: at most so many, none older than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Entries, 1 to 100,000.
    pub size: u32,
    /// 1 s to 30 d.
    pub age: Duration,
}

/// What a slow consumer gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Every publication, or the end of its connection.
    #[default]
    Every,
    /// Only the newest.
    Latest,
}

impl Rules {
    /// The `[[rules]]` of the configuration. `tokens`: do clients prove who they are?
    pub fn read(settings: &mut Settings, tokens: bool) -> Self {
        let read = |section: &mut Section<'_>| Rule::read(section, tokens);
        let read = settings.tables("rules", RULES_MAX, EXAMPLE, DOC, read);
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (i, rule) in read.iter().enumerate() {
            let Some(Rule { pattern, .. }) = rule else { continue };
            match first.entry(pattern.as_str()) {
                Entry::Vacant(entry) => _ = entry.insert(i),
                Entry::Occupied(entry) => settings.fault(
                    &format!("rules[{i}].pattern"),
                    format!(
                        "rules[{}] has the same and comes first: this never matches",
                        entry.get()
                    ),
                ),
            }
        }
        let otherwise = match (read.is_empty(), tokens) {
            (true, false) => Access::Anyone,
            (true, true) => Access::Token,
            // Whoever wrote rules meant them to be all.
            (false, _) => Access::Nobody,
        };
        Self(Live::new(RuleTable { rules: read.into_iter().flatten().collect(), otherwise }))
    }

    /// The policy of a channel: that of the first rule that matches, or the default.
    pub fn of(&self, channel: &str) -> Policy {
        self.0.get().of(channel)
    }

    /// Why there is no history or presence of a channel, naming the rule that decided.
    pub fn keeps_no(&self, kept: &str, channel: &str) -> String {
        match self.0.get().find(channel) {
            Some((_, rule)) => {
                format!("the rule {:?} keeps no {kept} of {channel}", rule.pattern.as_str())
            }
            None => format!("no rule matches {channel}, so no {kept} is kept of it"),
        }
    }

    /// All of them as they are now, for a moment.
    pub fn get(&self) -> impl Deref<Target = Arc<RuleTable>> + use<> {
        self.0.get()
    }

    /// All of them as they are now, to be kept.
    pub fn current(&self) -> Arc<RuleTable> {
        self.0.current()
    }

    /// From here on all clones have those of `other`.
    pub fn replace(&self, other: &Self) {
        self.0.replace(RuleTable::clone(&other.current()));
    }
}

impl RuleTable {
    /// The policy of a channel.
    pub fn of(&self, channel: &str) -> Policy {
        self.policy(self.find(channel).map(|(_, rule)| rule))
    }

    /// The policy of channels of this rule, or of none.
    pub fn policy(&self, rule: Option<&Rule>) -> Policy {
        let otherwise =
            Policy { subscribe: self.otherwise, publish: self.otherwise, ..Policy::default() };
        rule.map_or(otherwise, |rule| rule.policy)
    }

    /// The first rule that matches, and its place in the list.
    pub fn find(&self, channel: &str) -> Option<(usize, &Rule)> {
        self.rules.iter().enumerate().find(|(_, rule)| rule.pattern.matches(channel))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Is there anything that somebody without a token may do?
    pub fn lets_anyone(&self) -> bool {
        // `{user}` is no stranger.
        let rules = self.rules.iter().filter(|rule| !rule.pattern.names_user());
        let mut all = rules.flat_map(|it| [it.policy.subscribe, it.policy.publish]);
        self.otherwise == Access::Anyone || all.any(|access| access == Access::Anyone)
    }

    /// Does any of them ask for a token?
    pub fn asks_for_tokens(&self) -> bool {
        let mut all = self.rules.iter().flat_map(|it| [it.policy.subscribe, it.policy.publish]);
        all.any(|access| matches!(access, Access::User | Access::Token))
    }
}

const DOC: &str = "What a node does for channels whose names match a pattern, and who may use them. The \
    first rule that matches wins. A channel that none matches has no history and no presence, and \
    every publication is delivered; nobody may use it. Without any rules, everyone may use every \
    channel, or with `auth.mode = \"token\"` those that their token lists.";

const EXAMPLE: &str = r#"[{ pattern = "chat:*", subscribe = "token", publish = "token", history = { size = 200, age = "10m" }, presence = true, delivery = "every" }]"#;

impl Rule {
    /// None: it has faults.
    fn read(section: &mut Section<'_>, tokens: bool) -> Option<Self> {
        let pattern = section.text(
            "pattern",
            None,
            Pattern::ALLOWED,
            |text| Pattern::parse(text).ok(),
            |pattern| pattern.as_str().to_owned(),
            "Must be given. `*` is any run of characters within a segment, which `:` and `/` end; \
             `**` any run across segments; `{user}` the name of a user, within a segment.",
        );
        if !section.is_given("pattern") {
            section.fault("pattern", format!("must be given: {}", Pattern::ALLOWED));
        }
        if pattern.as_ref().is_some_and(|pattern| pattern.lua_depth() > LUA_DEPTH_MAX) {
            section.fault(
                "pattern",
                "has too many wildcards that could end in several places, as Redis has to try them \
                 against each other; have fewer, or : or / behind them",
            );
        }
        let subscribe = Access::read(
            section,
            "subscribe",
            tokens,
            "Who may subscribe, and ask for presence and history: `anyone`; `user`, with any valid \
             token; `token`, with one that lists the channel; `nobody`. Where the pattern has \
             `{user}`, only that very user. Left open: `anyone`, or `token` where \
             `auth.mode = \"token\"`.",
        );
        let publish = Access::read(
            section,
            "publish",
            tokens,
            "Who may publish: the same. Given where `subscribe` is, and only there.",
        );
        for (key, other) in [("subscribe", "publish"), ("publish", "subscribe")] {
            // What a file that was cut short has lost must not be what anyone may do.
            if section.is_given(other) && !section.is_given(key) {
                section.fault(key, format!("must be given where {other} is: {}", Access::WORDS));
            }
        }
        let history = History::read(section);
        let presence = section.flag(
            "presence",
            Some(false),
            "Whether who listens is kept, told on request, and told to the others as `join` and \
             `leave`.",
        );
        let delivery = section.choice(
            "delivery",
            "every",
            &[("every", Delivery::Every), ("latest", Delivery::Latest)],
            "`every`: a consumer too slow for every publication is closed with 4008. `latest`: it \
             gets only the newest.",
        );
        let presence = presence.unwrap_or_default();
        let policy = Policy { subscribe, publish, history, presence, delivery };
        let says_access = section.is_given("subscribe");
        Some(Self { pattern: pattern?, policy, says_access })
    }
}

impl History {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        section.refuse("history", "must be a table, such as { size = 200, age = \"10m\" }");
        let size = section.number_if_given(
            "history.size",
            1..=100_000,
            "So many of the newest publications are kept, at times up to 100 more. Without \
             `history` none are.",
        );
        let day = Duration::from_secs(24 * 60 * 60);
        let age = section.duration_if_given(
            "history.age",
            Duration::from_secs(1)..=30 * day,
            "How long a publication is kept at most. `size` and `age` are given together.",
        );
        for (key, other) in [("history.size", "history.age"), ("history.age", "history.size")] {
            if section.is_given(other) && !section.is_given(key) {
                section.fault(key, format!("must be given where {other} is"));
            }
        }
        let size = u32::try_from(size?).expect("its bounds fit");
        Some(Self { size, age: age? })
    }
}

#[cfg(test)]
mod tests;
