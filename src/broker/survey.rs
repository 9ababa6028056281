//! What Redis is like, for those who judge it before a node depends on it. Nothing is changed there: no
//! function is installed, no key written.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::publication::NodeId;

/// The masters of a deployment, and what each says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    pub masters: Vec<MasterSurvey>,
    /// Slots of a cluster that nobody serves.
    pub slots_unserved: usize,
    /// Masters beyond those, which were not asked.
    pub masters_unasked: usize,
}

/// One master.
#[derive(Clone, Debug, PartialEq)]
pub struct MasterSurvey {
    pub address: String,
    /// Err: it cannot be spoken to, and why.
    pub answers: Result<Answers, String>,
}

/// What a master let itself be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// The fields of `INFO`. Err: what it said instead, as for all that follows.
    pub info: SurveyReading<BTreeMap<String, String>>,
    /// The names asked for, and what `CONFIG GET` says of each.
    pub settings: BTreeMap<&'static str, SurveyReading<String>>,
    /// Is the library of functions there?
    pub has_functions: SurveyReading<bool>,
    /// Whose rules they have for this fleet.
    pub rules: SurveyReading<RulesFound>,
    /// Nodes that announced other rules than the configuration's while it was listened: some of them.
    pub nodes_with_other_rules: Vec<NodeId>,
    /// From a `PING` to its answer, the median of some.
    pub round_trip: Duration,
    /// How far the server's clock is ahead of this one's, in milliseconds.
    pub clock_ahead_millis: SurveyReading<i64>,
    /// What the user that is logged in may not do, of what nodes do.
    pub forbidden: Vec<Forbidden>,
    /// How long a publication took to come back to who published it. Err: it did not.
    pub relay: Result<Duration, String>,
}

/// The rules of this configuration's prefix, as the functions have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesFound {
    /// No node has installed any.
    None,
    /// Those of this configuration.
    Same,
    /// Others. `installed_by`: a node and its host, empty where it did not say; `database`: that node's.
    Others { installed_by: String, database: i64 },
}

/// What was read, or why it could not be.
pub type SurveyReading<T> = Result<T, String>;

/// Something that the user's ACL does not let it do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forbidden {
    pub need: RequiredVersion,
    /// The rule that would, such as `+fcall` or `~tidegate:*`.
    pub rule: String,
}

/// What of a node needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequiredVersion {
    Everything,
    History,
    Presence,
    /// Disconnecting users on all nodes.
    Revocations,
}
