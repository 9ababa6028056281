//! What the nodes need from Redis, by their configuration.

use crate::config::Config;

/// The most connections of a node to a master (docs/operating/redis.md).
pub const CONNECTIONS_PER_MASTER: usize = 5;

/// Whether a rule keeps history.
pub fn keeps_history(config: &Config) -> bool {
    config.rules.get().iter().any(|rule| rule.policy.history.is_some())
}

/// Whether a rule keeps presence.
pub fn keeps_presence(config: &Config) -> bool {
    config.rules.get().iter().any(|rule| rule.policy.presence)
}

/// Whether a rule has runs.
pub fn has_runs(config: &Config) -> bool {
    config.rules.get().iter().any(|rule| rule.policy.run.is_some())
}
