//! Rules: the configured policies of channels, by patterns of their names. The first matching rule applies.

mod access;
mod built_in;
mod event_kinds;
mod pattern;
mod policy;
mod reading;
mod run;
mod widened;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Deref;
use std::sync::Arc;

pub use access::Access;
pub use built_in::BuiltInRules;
pub use event_kinds::EventKinds;
pub use pattern::{
    ByteClass, InvalidPattern, InvalidSubscriptionPattern, MatchStep, Pattern, SubscriptionPart,
    SubscriptionPattern, is_segment,
};
pub use policy::{Delivery, History, Policy, Rule};
pub use reading::LUA_DEPTH_MAX;
pub use run::{ControlChannel, Merge, NoControl, Run};
pub use widened::Widened;

use crate::live::Live;
use crate::publication::Channel;
use crate::settings::{RawValue, Section, Settings};

/// The most rules of a configuration, because finding a channel's policy may check all of them.
pub const RULES_MAX: usize = 1000;

/// The current rules. Cheap to clone; all clones share them.
#[derive(Clone, Debug, Default)]
pub struct Rules(Live<RuleTable>);

/// All rules of a configuration, in order.
#[derive(Clone, Debug, Default)]
pub struct RuleTable {
    rules: Box<[Rule]>,
    /// The access to a channel that no rule matches.
    otherwise: Access,
    /// Some: the configuration has no rules.
    built_in: Option<BuiltInRules>,
    /// Whether any rule has a control channel.
    has_control: bool,
}

impl Rules {
    /// Reads `[[rules]]`. `tokens`: whether clients authenticate with tokens.
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
                        "rules[{}] has the same pattern and comes first, so this rule never matches",
                        entry.get()
                    ),
                ),
            }
        }
        reading::fault_control_chains(settings, &read);
        let otherwise = match (read.is_empty(), tokens) {
            (true, false) => Access::Anyone,
            (true, true) => Access::Token,
            // With rules, a channel that none matches is closed.
            (false, _) => Access::Nobody,
        };
        let rules: Box<[Rule]> = read.into_iter().flatten().collect();
        let has_control = rules.iter().any(|rule| rule.control.is_some());
        Self(Live::new(RuleTable { rules, otherwise, built_in: None, has_control }))
    }

    /// Built-in rules. Access to channels that none of them matches is the same as without rules.
    pub fn built_in(built_in: BuiltInRules, tokens: bool) -> Self {
        let none = Self::read(&mut Settings::default(), tokens).current();
        let text = RawValue::Text(built_in.text.to_string());
        let given = [("rules".to_owned(), (text, built_in.origin.to_owned()))].into();
        let read = Self::read(&mut Settings::new(given, Vec::new()), tokens).current();
        let (otherwise, built_in) = (none.otherwise, Some(built_in));
        Self(Live::new(RuleTable { otherwise, built_in, ..RuleTable::clone(&read) }))
    }

    /// The rules of a configuration's text.
    #[cfg(test)]
    pub fn of_text(list: &str) -> Self {
        tests::read_with(list, false).expect("valid rules")
    }

    /// The policy of a channel: of the first matching rule, or the default.
    pub fn of(&self, channel: &str) -> Policy {
        self.0.get().of(channel)
    }

    /// Why a channel has no history or presence, naming the rule that applies.
    pub fn explain_not_kept(&self, kept: &str, channel: &str) -> String {
        let example = match kept {
            "history" => r#"history = { size = 100, age = "1h" }"#,
            _ => "presence = true",
        };
        match self.0.get().find(channel) {
            Some((_, rule)) => {
                let pattern = rule.pattern.as_str();
                format!("the rule {pattern:?} keeps no {kept} of {channel}: it has no {example}")
            }
            None => {
                format!(
                    "no rule matches {channel}, so no {kept} is kept of it: a rule needs {example}"
                )
            }
        }
    }

    /// Why a channel cannot be used as a durable stream, naming the rule that applies.
    pub fn explain_no_streams(&self, channel: &str) -> String {
        let named = |(_, rule): (usize, &Rule)| format!("{:?}", rule.pattern.as_str());
        let rule = self.0.get().find(channel).map_or_else(|| "none".to_owned(), named);
        format!("a stream needs a rule with streams = true; the rule of {channel}: {rule}")
    }

    /// The channel that gets what clients publish on this one. None: this one itself. `Err`: the control channel
    /// would have too long a name, or be a run itself.
    pub fn control(&self, channel: &Channel) -> Option<Result<Channel, NoControl>> {
        let table = self.0.get();
        let control = table.control(channel.as_str())?.of(channel);
        let is_sound = |it: &Channel| table.of(it.as_str()).run.is_none();
        Some(control.filter(is_sound).ok_or(NoControl))
    }

    /// The current rules, for a short use.
    pub fn get(&self) -> impl Deref<Target = Arc<RuleTable>> + use<> {
        self.0.get()
    }

    /// The current rules, to be kept.
    pub fn current(&self) -> Arc<RuleTable> {
        self.0.current()
    }

    /// Replaces the rules of all clones with those of `other`.
    pub fn replace(&self, other: &Self) {
        self.0.replace(RuleTable::clone(&other.current()));
    }
}

impl RuleTable {
    /// The policy of a channel.
    pub fn of(&self, channel: &str) -> Policy {
        self.policy(self.find(channel).map(|(_, rule)| rule))
    }

    /// The policy of this rule's channels, or of channels without a rule.
    pub fn policy(&self, rule: Option<&Rule>) -> Policy {
        let is_open = self.is_open();
        let access = self.otherwise;
        let otherwise =
            Policy { subscribe: access, publish: access, patterns: is_open, ..Policy::default() };
        rule.map_or(otherwise, |rule| Policy {
            patterns: rule.policy.patterns || is_open,
            ..rule.policy
        })
    }

    /// The first matching rule, and its index.
    pub fn find(&self, channel: &str) -> Option<(usize, &Rule)> {
        self.rules.iter().enumerate().find(|(_, rule)| rule.pattern.matches(channel))
    }

    /// Where what clients publish on the channel goes. None: on the channel itself.
    pub fn control(&self, channel: &str) -> Option<&ControlChannel> {
        self.has_control
            .then(|| self.find(channel))
            .flatten()
            .and_then(|(_, rule)| rule.control.as_ref())
    }

    /// Whether every client may use every channel, because the configuration has no rules.
    fn is_open(&self) -> bool {
        (self.rules.is_empty() || self.built_in.is_some()) && self.otherwise == Access::Anyone
    }

    /// The rule inside which a subscription to the pattern is allowed: the first one with `patterns` that matches all of its
    /// channels. `Some(None)`: no rule is needed. None: there is none.
    pub fn find_pattern(&self, pattern: &SubscriptionPattern) -> Option<Option<(usize, &Rule)>> {
        if self.is_open() {
            return Some(None);
        }
        let mut rules = self.rules.iter().enumerate();
        let is_around = |rule: &Rule| rule.policy.patterns && pattern.is_inside(&rule.pattern);
        rules.find(|(_, rule)| is_around(rule)).map(Some)
    }

    /// The patterns of rules whose channels a subscription to the pattern may show: those with `patterns` that it
    /// overlaps.
    pub fn pattern_sources(&self, pattern: &SubscriptionPattern) -> Vec<Pattern> {
        if self.is_open() {
            return vec![Pattern::parse("**").expect("it is a pattern")];
        }
        let shown = self
            .rules
            .iter()
            .filter(|rule| rule.policy.patterns && pattern.may_overlap(&rule.pattern, None));
        shown.map(|rule| rule.pattern.clone()).collect()
    }

    /// The rules that no channel reaches, each with the earlier one that matches all of its channels.
    pub fn unreachable(&self) -> impl Iterator<Item = (usize, usize)> {
        self.rules.iter().enumerate().filter_map(|(i, rule)| {
            let covers = |earlier: &Rule| earlier.pattern.covers(&rule.pattern);
            self.rules[..i].iter().position(covers).map(|earlier| (i, earlier))
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Some: they are built in, because the configuration has none.
    pub fn built_in(&self) -> Option<&BuiltInRules> {
        self.built_in.as_ref()
    }

    /// Whether an anonymous client may do anything.
    pub fn allows_anonymous(&self) -> bool {
        // Rules with `{user}` never apply to anonymous clients.
        let rules = self.rules.iter().filter(|rule| !rule.pattern.names_user());
        let mut all = rules.flat_map(|it| [it.policy.subscribe, it.policy.publish]);
        self.otherwise == Access::Anyone || all.any(|access| access == Access::Anyone)
    }

    /// Whether any rule requires a token.
    pub fn requires_tokens(&self) -> bool {
        let mut all = self.rules.iter().flat_map(|it| [it.policy.subscribe, it.policy.publish]);
        all.any(|access| matches!(access, Access::User | Access::Token))
    }
}

const DOC: &str = "What a node does for channels whose names match a pattern, and who may use them. The first rule \
    that matches applies. A channel that no rule matches has no history and no presence, every \
    publication is delivered, and no client may use it. Without any rules, every client may use every \
    channel, or with `auth.mode = \"token\"` those that its token lists. If `demo` is on and `broker.url` is \
    `memory:`, a node without any rules has built-in ones for `demo:**`, which give the demo pages history and \
    presence and change no access. With `pusher.apps`, a node without any rules has built-in ones for the channels of its \
    applications.";

const EXAMPLE: &str = r#"[{ pattern = "chat:*", subscribe = "token", publish = "token", history = { size = 200, age = "10m" }, presence = true, delivery = "every" }, { pattern = "run:*", history = { size = 10000, age = "1h" }, run = { lease = "30s", merge = "text", rollup = "40ms", control = "run-control:{name}" } }]"#;

#[cfg(test)]
mod tests;
