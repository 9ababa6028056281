//! How many connections are meant to be had, and how bad it is that fewer fit.

use super::super::finding::Level;
use super::super::sizes::ROOM_MIN;
use crate::config::Config;

/// So many connections are meant to be had. None: nobody said.
pub fn wanted(config: &Config) -> Option<usize> {
    Some(config.limits.connections_max).filter(|wanted| *wanted > 0)
}

/// How bad it is that there is room for so many connections.
pub fn room(fits: usize, config: &Config) -> Level {
    match config.limits.connections_max {
        0 if fits < ROOM_MIN => Level::Warning,
        wanted if fits < wanted => Level::Problem,
        _ => Level::Ok,
    }
}
