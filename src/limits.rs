//! The `[limits]` section, and the token bucket for rates. The modules that enforce a limit refuse and count
//! themselves.

mod bucket;

pub use bucket::Bucket;

use std::time::Duration;

use crate::live::Live;
use crate::settings::Settings;

/// How many new channels a connection may use in a burst, whatever its rate.
pub const NEW_CHANNELS_BURST: usize = 1000;

/// The current limits.
pub type Limits = Live<Config>;

/// The `[limits]` section. 0: no limit, unless stated otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// 0: as many as the open-file limit has room for.
    pub connections_max: usize,
    pub connections_per_ip: usize,
    pub connections_per_user: usize,
    pub handshakes_per_second: usize,
    pub handshakes_per_second_per_ip: usize,
    /// For one connection, as are the next three.
    pub publications_per_second: usize,
    /// Channels used for the first time, with bursts of [`NEW_CHANNELS_BURST`].
    pub new_channels_per_second: usize,
    pub commands_per_second: usize,
    pub bytes_per_second: usize,
    /// Bytes. 0: nine tenths of the memory that the system allows the process.
    pub memory_max: usize,
    /// Zero: no limit.
    pub event_loop_lag_max: Duration,
    /// Counts what exceeds a limit, but allows it.
    pub dry_run: bool,
}

impl Config {
    pub fn read(settings: &mut Settings) -> Self {
        let mut section = settings.section("limits");
        let many = 0..=100_000_000;
        Self {
            connections_max: section.number(
                "connections_max",
                0,
                many.clone(),
                "The most connections of this node; further ones are answered 503. 0: as many as the \
                 open-file limit allows.",
            ),
            connections_per_ip: section.number(
                "connections_per_ip",
                0,
                many.clone(),
                "The most connections of one client address, IPv6 by /64; further ones are answered \
                 429. Many people may share an address. 0: no limit.",
            ),
            connections_per_user: section.number(
                "connections_per_user",
                0,
                many.clone(),
                "The most connections of one user to this node; further ones are answered 429. 0: no \
                 limit.",
            ),
            handshakes_per_second: section.number(
                "handshakes_per_second",
                0,
                many.clone(),
                "The most new connections per second, with bursts of one second's worth; further ones \
                 are answered 503. 0: no limit.",
            ),
            handshakes_per_second_per_ip: section.number(
                "handshakes_per_second_per_ip",
                0,
                many.clone(),
                "The same for one client address, IPv6 by /64; further ones are answered 429. 0: no \
                 limit.",
            ),
            publications_per_second: section.number(
                "publications_per_second",
                10_000,
                many.clone(),
                "The most publications per second of one connection, with bursts of one second's worth; of \
                 HTTP requests, those of one user, or of one address without a user. \
                 Further ones are answered `rate_limited`. A client that continues, or exceeds it on \
                 the plain protocol, is closed with 4029. 0: no limit.",
            ),
            new_channels_per_second: section.number(
                "new_channels_per_second",
                100,
                many.clone(),
                "The most channels per second that one connection may publish or subscribe to for the \
                 first time, with bursts of 1000, or of `session.channels_max` if that is more. Each may \
                 cost memory in Redis for as long as its history is kept. The node remembers a \
                 connection's last 1024 channels. Exceeding it has the same effect. 0: no limit.",
            ),
            commands_per_second: section.number(
                "commands_per_second",
                0,
                many,
                "The same for all other commands. 0: no limit.",
            ),
            bytes_per_second: section.bytes(
                "bytes_per_second",
                "0B",
                0..=1 << 40,
                "The same for the bytes of a connection's messages. 0B: no limit.",
            ),
            memory_max: section.bytes(
                "memory_max",
                "0B",
                0..=1 << 50,
                "The most memory of the process. Near it the node is not ready, accepts no more \
                 connections, and closes those with the most queued bytes with 1013. 0B: nine tenths of \
                 the memory of its control group or the machine.",
            ),
            event_loop_lag_max: section.duration(
                "event_loop_lag_max",
                "1s",
                Duration::ZERO..=Duration::from_secs(60),
                "While the node runs due tasks later than this, it is not ready, but still accepts \
                 connections. It is ready again after 5 s below half of it. Values under about 50ms \
                 measure the system's own scheduling. 0s: no limit.",
            ),
            dry_run: section
                .flag(
                    "dry_run",
                    Some(false),
                    "Counts what exceeds a limit in `tidegate_rejected_total`, but allows it. \
                     `connections_max`, `memory_max` and `event_loop_lag_max` still apply.",
                )
                .unwrap_or_default(),
        }
    }
}
