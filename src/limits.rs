//! How much of everything there may be: the `[limits]` section, and the bucket that rates are kept
//! with. Where a limit is kept, there it is refused and counted.

mod bucket;

pub use bucket::Bucket;

use std::time::Duration;

use crate::live::Live;
use crate::settings::Settings;

/// Channels that a connection may use for the first time at once, whatever it may a second.
pub const NEW_CHANNELS_BURST: usize = 1000;

/// The limits as they are now.
pub type Limits = Live<Config>;

/// The `[limits]` section. 0: not limited, unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// 0: as many as the open-file limit has room for.
    pub connections_max: usize,
    pub connections_per_ip: usize,
    pub connections_per_user: usize,
    pub handshakes_per_second: usize,
    pub handshakes_per_second_per_ip: usize,
    /// Of one connection, as the next three.
    pub publications_per_second: usize,
    /// Channels that it uses for the first time, with [`NEW_CHANNELS_BURST`] at once.
    pub new_channels_per_second: usize,
    pub commands_per_second: usize,
    pub bytes_per_second: usize,
    /// Bytes. 0: nine tenths of what the system lets the process have.
    pub memory_max: usize,
    /// Zero: the node may lag as it will.
    pub event_loop_lag_max: Duration,
    /// Count what goes beyond a limit, but let it pass.
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
                "Most connections of this node; more are answered 503. 0: as many as the open-file \
                 limit has room for.",
            ),
            connections_per_ip: section.number(
                "connections_per_ip",
                0,
                many.clone(),
                "Most connections of one client address, IPv6 by /64; more are answered 429. Many \
                 people may share one. 0: no limit.",
            ),
            connections_per_user: section.number(
                "connections_per_user",
                0,
                many.clone(),
                "Most connections of one user to this node; more are answered 429. 0: no limit.",
            ),
            handshakes_per_second: section.number(
                "handshakes_per_second",
                0,
                many.clone(),
                "Most new connections a second, with a second's worth at once; more are answered \
                 503. 0: no limit.",
            ),
            handshakes_per_second_per_ip: section.number(
                "handshakes_per_second_per_ip",
                0,
                many.clone(),
                "The same of one client address, IPv6 by /64; more are answered 429. 0: no limit.",
            ),
            publications_per_second: section.number(
                "publications_per_second",
                10_000,
                many.clone(),
                "Most publications a second that one connection may send, with a second's worth at \
                 once. More are answered `rate_limited`; who goes on, and on the plain protocol whoever \
                 exceeds it, is closed with 4029. 0: no limit.",
            ),
            new_channels_per_second: section.number(
                "new_channels_per_second",
                100,
                many.clone(),
                "Most channels a second that one connection may publish or subscribe to for the first \
                 time, with 1000 at once, or `session.channels_max` if that is more: each may cost \
                 memory in Redis for as long as its history is kept. The last 1024 are remembered. \
                 Exceeded, the same. 0: no limit.",
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
                "The same for the bytes of its messages. 0B: no limit.",
            ),
            memory_max: section.bytes(
                "memory_max",
                "0B",
                0..=1 << 50,
                "Most memory of the process. Near it the node is not ready and takes no more \
                 connections, and those that owe it the most are closed with 1013. 0B: nine tenths \
                 of what its control group, or the machine, has.",
            ),
            event_loop_lag_max: section.duration(
                "event_loop_lag_max",
                "1s",
                Duration::ZERO..=Duration::from_secs(60),
                "While the node runs what is due later than this, it is not ready; connections are \
                 taken all the same. Ready again after 5 s below half of it. Under some 50ms it \
                 measures the system's own clockwork. 0s: no limit.",
            ),
            dry_run: section
                .flag(
                    "dry_run",
                    Some(false),
                    "Counts what goes beyond a limit in `tidegate_rejected_total`, and lets it \
                     pass. `connections_max`, `memory_max` and `event_loop_lag_max` hold all the \
                     same.",
                )
                .unwrap_or_default(),
        }
    }
}
