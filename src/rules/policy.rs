//! One rule: the pattern of its channels, and what a node does for them.

use std::time::Duration;

use super::access::Access;
use super::event_kinds::EventKinds;
use super::pattern::Pattern;
use super::run::{ControlChannel, Run};

#[derive(Clone, Debug)]
pub struct Rule {
    pub pattern: Pattern,
    pub policy: Policy,
    /// Whether the rule sets access explicitly.
    pub sets_access: bool,
    /// Where what clients publish on the rule's channels goes. None: on these channels.
    pub control: Option<ControlChannel>,
}

/// What a node does for a channel. The default keeps nothing, delivers every publication, and gives everyone
/// access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Who may subscribe, and read presence and history.
    pub subscribe: Access,
    pub publish: Access,
    /// None: no history.
    pub history: Option<History>,
    /// Whether subscribers can see each other.
    pub presence: bool,
    /// Which events the backend gets.
    pub events: EventKinds,
    pub delivery: Delivery,
    /// Some: each channel carries a stream with an end. Then the rule keeps history.
    pub run: Option<Run>,
    /// Whether clients may use the channel as a durable stream. Then the rule has runs.
    pub streams: bool,
    /// Whether clients may subscribe to patterns of these channels.
    pub patterns: bool,
}

/// The limits of a channel's history.
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
    /// Every publication, or its connection is closed.
    #[default]
    Every,
    /// Only the newest.
    Latest,
}

impl Policy {
    /// Whether subscribers get the publications joined.
    pub fn merges(&self) -> bool {
        self.run.is_some_and(|run| run.merge.is_some())
    }
}
