//! The configured policy of the channels whose names match a pattern. The first rule that matches
//! wins.

mod pattern;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

pub use pattern::{InvalidPattern, Pattern};

use crate::settings::{Section, Settings};

/// Most rules of a configuration: a channel's policy is looked for among all of them.
pub const RULES_MAX: usize = 1000;

/// Most wildcards of a pattern that Redis tries against each other. With two, the worst name takes it
/// 0.3 ms; with three 30 ms, in which it serves nobody.
pub const LUA_DEPTH_MAX: u32 = 2;

/// All rules, in order. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Rules(Arc<[Rule]>);

#[derive(Clone, Debug)]
pub struct Rule {
    pub pattern: Pattern,
    pub policy: Policy,
}

/// What a node does for a channel. Of itself: keeps nothing, delivers every publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
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
    /// The `[[rules]]` of the configuration.
    pub fn read(settings: &mut Settings) -> Self {
        let read = settings.tables("rules", RULES_MAX, EXAMPLE, DOC, Rule::read);
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
        Self(read.into_iter().flatten().collect())
    }

    /// The policy of a channel: that of the first rule that matches, or the default.
    pub fn of(&self, channel: &str) -> Policy {
        let rule = self.0.iter().find(|rule| rule.pattern.matches(channel));
        rule.map(|rule| rule.policy).unwrap_or_default()
    }

    /// Why there is no history or presence of a channel, naming the rule that decided.
    pub fn keeps_no(&self, kept: &str, channel: &str) -> String {
        match self.0.iter().find(|rule| rule.pattern.matches(channel)) {
            Some(rule) => {
                format!("the rule {:?} keeps no {kept} of {channel}", rule.pattern.as_str())
            }
            None => format!("no rule matches {channel}, so no {kept} is kept of it"),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

const DOC: &str = "What a node does for channels whose names match a pattern. The first rule that \
    matches wins; a channel that none matches has no history and no presence, and every publication \
    is delivered.";

const EXAMPLE: &str = r#"[{ pattern = "chat:*", history = { size = 200, age = "10m" }, presence = true, delivery = "every" }]"#;

/// What everyone may do while nobody has to prove who they are.
const ACCESS: [&str; 2] = ["subscribe", "publish"];

impl Rule {
    /// None: it has faults.
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let pattern = section.text(
            "pattern",
            None,
            Pattern::ALLOWED,
            |text| Pattern::parse(text).ok(),
            |pattern| pattern.as_str().to_owned(),
            "Must be given. `*` is any run of characters within a segment, which `:` and `/` end; \
             `**` any run across segments; `{user}` a name within a segment.",
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
        for key in ACCESS {
            section.text(
                key,
                Some("anyone"),
                "\"anyone\": less needs auth.mode = \"token\", which this node does not have yet",
                |who| (who == "anyone").then_some(()),
                |()| "anyone".to_owned(),
                "Who may do it.",
            );
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
        Some(Self { pattern: pattern?, policy: Policy { history, presence, delivery } })
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
