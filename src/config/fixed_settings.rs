//! Settings that a reload may not change, or may not weaken by mistake.

use std::sync::Arc;

use super::checked::Config;
use crate::rules::{Rule, RuleTable, Rules};
use crate::settings::{ClientListener, Settings};
use crate::{auth, internal};

/// What a running node cannot change, or must not lose by mistake.
#[derive(Clone, Debug)]
pub struct FixedSettings {
    /// The most exposed listener, whatever the new configuration contains.
    pub(super) listen: ClientListener,
    requires_tokens: bool,
    has_api_key: bool,
    rules: Arc<RuleTable>,
}

impl FixedSettings {
    pub fn of(config: &Config) -> Self {
        let mut fixed = Self {
            listen: config.most_exposed(),
            requires_tokens: false,
            has_api_key: false,
            rules: config.rules.current(),
        };
        fixed.follow(config);
        fixed
    }

    /// Takes over the settings now in force.
    pub fn follow(&mut self, config: &Config) {
        self.requires_tokens = config.auth.mode == auth::Mode::Token;
        self.has_api_key = config.internal.api_key.is_some();
        self.rules = config.rules.current();
    }

    /// Adds a fault for each change that would open the node without being explicit.
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
        let is_explicit = settings.is_set("auth.mode");
        if self.requires_tokens && auth.mode == auth::Mode::None && !is_explicit {
            let what = "auth.keys is no longer set; set auth.mode = \"none\" if clients need not authenticate";
            settings.fault("auth.mode", what);
        }
        let has_rules = !self.rules.is_empty() && self.rules.built_in().is_none();
        if has_rules && !settings.is_set("rules") {
            let what = "is no longer set; set rules = [] if no channel is to have a rule";
            settings.fault("rules", what);
        }
        if self.has_api_key && internal.api_key.is_none() {
            settings.fault("internal.api_key", "is no longer set; removing it takes a restart");
        }
    }

    /// A rule that listed who has access and now omits that, and so allows more, was probably truncated.
    pub(super) fn guard_rules(&self, settings: &mut Settings, rules: &Rules) {
        let rules = rules.current();
        let widened = rules.widened_from(&self.rules);
        for (i, rule) in rules.iter().enumerate().filter(|(_, rule)| !rule.sets_access) {
            let pattern = rule.pattern.as_str();
            let is_same = |old: &Rule| old.sets_access && old.pattern.as_str() == pattern;
            let is_wider = widened.iter().any(|it| it.pattern.as_deref() == Some(pattern));
            if is_wider && self.rules.iter().any(is_same) {
                let what =
                    "is no longer set, and neither is publish, which allows more clients: set both";
                settings.fault(&format!("rules[{i}].subscribe"), what);
            }
        }
    }
}
