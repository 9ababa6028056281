//! What the nodes need of Redis, by their configuration.

use crate::config::Config;

/// Connections of a node to a master, at most (docs/operating/redis.md).
pub const CONNECTIONS_PER_MASTER: usize = 5;

/// Does a rule keep history?
pub fn keeps_history(config: &Config) -> bool {
    config.rules.get().iter().any(|rule| rule.policy.history.is_some())
}

/// Does a rule keep presence?
pub fn keeps_presence(config: &Config) -> bool {
    config.rules.get().iter().any(|rule| rule.policy.presence)
}
