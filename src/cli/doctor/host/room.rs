//! How many connections are configured, and how severe it is if fewer fit.

use super::super::finding::Level;
use super::super::sizes::ROOM_MIN;
use crate::config::Config;

/// The configured number of connections. None: not set.
pub fn configured_connections(config: &Config) -> Option<usize> {
    Some(config.limits.connections_max).filter(|max| *max > 0)
}

/// How severe it is that only this many connections fit.
pub fn capacity_level(fits: usize, config: &Config) -> Level {
    match config.limits.connections_max {
        0 if fits < ROOM_MIN => Level::Warning,
        max if fits < max => Level::Problem,
        _ => Level::Ok,
    }
}
