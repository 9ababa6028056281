//! What new settings may not take from a node that runs.

use std::sync::Arc;

use super::checked::Config;
use crate::rules::{Rule, RuleTable, Rules};
use crate::settings::{ListenAddress, Settings};
use crate::{auth, internal};

/// What a node that runs cannot change, or must not lose by mistake.
#[derive(Clone, Debug)]
pub struct FixedSettings {
    /// Where it listens, whatever the configuration says now.
    pub(super) listen: ListenAddress,
    takes_tokens: bool,
    has_api_key: bool,
    rules: Arc<RuleTable>,
}

impl FixedSettings {
    pub fn of(config: &Config) -> Self {
        let mut bound = Self {
            listen: config.server.listen,
            takes_tokens: false,
            has_api_key: false,
            rules: config.rules.current(),
        };
        bound.follow(config);
        bound
    }

    /// These are in force from here on.
    pub fn follow(&mut self, config: &Config) {
        self.takes_tokens = config.auth.mode == auth::Mode::Token;
        self.has_api_key = config.internal.api_key.is_some();
        self.rules = config.rules.current();
    }

    /// What would open the node without anybody having said so is a fault.
    pub(super) fn guard(
        &self,
        settings: &mut Settings,
        auth: &auth::Config,
        internal: &internal::Config,
        is_empty: bool,
    ) {
        if is_empty {
            settings.fault("", "the file is empty");
        }
        let is_said = settings.is_given("auth.mode");
        if self.takes_tokens && auth.mode == auth::Mode::None && !is_said {
            let what = "auth.keys are gone; write auth.mode = \"none\" if nobody has to prove who they are";
            settings.fault("auth.mode", what);
        }
        if !self.rules.is_empty() && !settings.is_given("rules") {
            let what = "are gone; write rules = [] if every channel is to be as it is without any";
            settings.fault("rules", what);
        }
        if self.has_api_key && internal.api_key.is_none() {
            settings.fault("internal.api_key", "is gone; to do without one takes a restart");
        }
    }

    /// A rule that said who may do what, and now leaves it open to more, was cut short.
    pub(super) fn guard_rules(&self, settings: &mut Settings, rules: &Rules) {
        let rules = rules.current();
        let widened = rules.widened_from(&self.rules);
        for (i, rule) in rules.iter().enumerate().filter(|(_, rule)| !rule.says_access) {
            let pattern = rule.pattern.as_str();
            let is_same = |old: &Rule| old.says_access && old.pattern.as_str() == pattern;
            let is_wider = widened.iter().any(|it| it.pattern.as_deref() == Some(pattern));
            if is_wider && self.rules.iter().any(is_same) {
                let what = "is gone, and so is publish, which lets more people in: write both";
                settings.fault(&format!("rules[{i}].subscribe"), what);
            }
        }
    }
}
