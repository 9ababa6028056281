//! The session settings.

use std::time::Duration;

use crate::settings::Settings;

/// The `[session]` section.
#[derive(Clone, Debug)]
pub struct Config {
    pub ping_interval: Duration,
    pub pong_timeout: Duration,
    pub message_bytes_max: usize,
    pub queue_bytes_max: usize,
    pub channels_max: usize,
    pub patterns_max: usize,
    pub json_depth_max: usize,
}

impl Config {
    pub fn read(settings: &mut Settings) -> Self {
        let mut section = settings.section("session");
        let times = Duration::from_millis(100)..=Duration::from_secs(3600);
        Self {
            ping_interval: section.duration(
                "ping_interval",
                "25s",
                times.clone(),
                "How often the node pings every connection. Keep it below the idle timeout of every \
                 proxy on the path; many have 60s.",
            ),
            pong_timeout: section.duration(
                "pong_timeout",
                "10s",
                times,
                "A connection that sends nothing for this long after a ping is closed with 4009.",
            ),
            message_bytes_max: section.bytes(
                "message_bytes_max",
                "64KiB",
                1 << 7..=1 << 30,
                "Largest message a client may send, its fragments together; a larger one closes with \
                 1009.",
            ),
            queue_bytes_max: section.bytes(
                "queue_bytes_max",
                "1MiB",
                1 << 10..=1 << 30,
                "Most bytes in a connection's outbound queue, 32 for each frame included. A slow \
                 consumer that exceeds it is closed with 4008. The worst case of a node's memory is \
                 this times its connections.",
            ),
            channels_max: section.number(
                "channels_max",
                128,
                1..=10_000,
                "Most channels one connection may subscribe to.",
            ),
            patterns_max: section.number(
                "patterns_max",
                16,
                1..=1000,
                "Most patterns one connection may subscribe to.",
            ),
            json_depth_max: section.number(
                "json_depth_max",
                128,
                1..=100_000,
                "How deep the objects and arrays of a json command may be nested, its payload \
                 included, because the parsers of its receivers may support no more. A deeper one \
                 gets `bad_request`; so does `data` of more than 124 levels, whatever this setting.",
            ),
        }
    }
}
