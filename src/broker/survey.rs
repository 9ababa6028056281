//! What `tidegate doctor` reads from Redis before a node depends on it. Reading changes nothing
//! there: it installs no function and writes no key.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::publication::NodeId;

/// The masters of a deployment, and what each replied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    pub masters: Vec<MasterSurvey>,
    /// Slots of a cluster without a master.
    pub slots_unserved: usize,
    /// Number of further masters, which were not queried.
    pub masters_not_queried: usize,
}

/// One master.
#[derive(Clone, Debug, PartialEq)]
pub struct MasterSurvey {
    pub address: String,
    /// `Err`: why the node cannot connect to it.
    pub answers: Result<Answers, String>,
}

/// The replies of a master.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// The fields of `INFO`. `Err`, here and below: the server's error.
    pub info: SurveyReading<BTreeMap<String, String>>,
    /// Setting names, with the reply of `CONFIG GET` to each.
    pub settings: BTreeMap<&'static str, SurveyReading<String>>,
    /// Whether the function library is installed.
    pub has_functions: SurveyReading<bool>,
    /// Which rules the functions have for this fleet.
    pub rules: SurveyReading<RulesFound>,
    /// Some of the nodes that announced other rules than the configuration's while the command
    /// listened.
    pub nodes_with_other_rules: Vec<NodeId>,
    /// Median time from a `PING` to its reply.
    pub round_trip: Duration,
    /// How far the server's clock is ahead of this host's, in milliseconds.
    pub clock_ahead_millis: SurveyReading<i64>,
    /// Commands, keys and channels that nodes use and the logged-in user has no permission for.
    pub forbidden: Vec<Forbidden>,
    /// How long a publication took to come back to its publisher. `Err`: it did not come back.
    pub relay: Result<Duration, String>,
}

/// The rules for this configuration's prefix in the installed functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesFound {
    /// No node has installed rules.
    None,
    /// The rules of this configuration.
    Same,
    /// Other rules. `installed_by`: a node and its host, empty where unknown; `database`: that
    /// node's.
    Others { installed_by: String, database: i64 },
}

/// What was read, or why it could not be read.
pub type SurveyReading<T> = Result<T, String>;

/// A permission that the user's ACL lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forbidden {
    pub feature: NodeFeature,
    /// The ACL rule that would grant it, such as `+fcall` or `~tidegate:*`.
    pub rule: String,
}

/// The feature of a node that needs a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeFeature {
    Everything,
    History,
    Runs,
    Presence,
    /// Disconnecting a user on all nodes.
    Revocations,
}
