//! The policy of channels whose names match a pattern: the first rule that matches.

use std::sync::Arc;
use std::time::Duration;

/// All rules, in order. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Rules(Arc<[Rule]>);

#[derive(Clone, Debug)]
pub struct Rule {
    pub policy: Policy,
}

/// What is kept of a channel, and how it is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub history: Option<History>,
    pub presence: bool,
    pub delivery: Delivery,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    pub size: u32,
    pub age: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    #[default]
    Every,
    Latest,
}

impl Rules {
    /// Why there is no history or presence of the channel, naming the rule.
    pub fn keeps_no(&self, kept: &str, channel: &crate::publication::Channel) -> String {
        format!("no rule keeps {kept} for {channel}")
    }

    pub fn of(&self, _: &str) -> Policy {
        Policy::default()
    }
}
