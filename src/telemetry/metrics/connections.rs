//! Metrics of connections, refusals and revoked tokens.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::adder::Adder;
use crate::close::Close;
use crate::protocol::Format;
use crate::telemetry::rejected::Rejected;

/// The value of the `action` label for a slow consumer that was closed.
pub const SLOW_CLOSED: &str = "closed";
/// The subscriber catches up later.
pub const SLOW_BEHIND: &str = "behind";

pub struct ConnectionMetrics {
    pub open: [IntGauge; Format::COUNT],
    pub opened: IntCounter,
    pub http2_connections: IntGauge,
    pub http2_sessions: [IntGauge; Format::COUNT],
    pub closed: IntCounterVec,
    pub handshake_duration: Histogram,
    pub ping_rtt: Histogram,
    pub received_bytes: IntCounter,
    pub sent_bytes: IntCounter,
    pub outbound_queue_bytes: IntGauge,
    pub slow_consumers: IntCounterVec,
    pub rejected: IntCounterVec,
    pub revocations: IntGauge,
}

impl ConnectionMetrics {
    pub fn new(add: &Adder<'_>) -> Self {
        Self {
            open: by_format(add, "connections", "Open connections."),
            opened: add.counter("connections_opened_total", "Connections opened."),
            http2_connections: add.gauge(
                "http2_connections",
                "Open HTTP/2 connections, each with any number of sessions.",
            ),
            http2_sessions: by_format(
                add,
                "http2_sessions",
                "The part of `tidegate_connections` that are streams of HTTP/2 connections.",
            ),
            closed: add.counters(
                "connections_closed_total",
                "Connections that ended.",
                "reason",
                Close::EACH.map(Close::label),
            ),
            handshake_duration: add.histogram(
                "handshake_duration_seconds",
                "From an accepted socket to the answer to its handshake.",
            ),
            ping_rtt: add.histogram("ping_rtt_seconds", "Round trips of WebSocket pings."),
            received_bytes: add.counter("received_bytes_total", "Bytes read from clients."),
            sent_bytes: add.counter("sent_bytes_total", "Bytes written to clients."),
            outbound_queue_bytes: add.gauge(
                "outbound_queue_bytes",
                "Bytes queued for sockets, all connections together.",
            ),
            slow_consumers: add.counters(
                "slow_consumers_total",
                "Subscribers that could not keep up, by the action taken.",
                "action",
                [SLOW_CLOSED, SLOW_BEHIND],
            ),
            rejected: rejected(add),
            revocations: add.gauge(
                "revocations",
                "Users who were disconnected and whose tokens issued before that are refused.",
            ),
        }
    }
}

fn by_format(add: &Adder<'_>, name: &str, help: &str) -> [IntGauge; Format::COUNT] {
    let open = add.gauges(name, help, &["transport", "protocol"]);
    Format::EACH.map(|it| open.with_label_values(&[it.framing(), it.label()]))
}

fn rejected(add: &Adder<'_>) -> IntCounterVec {
    add.counters(
        "rejected_total",
        "Refused connections and requests; with `limits.dry_run`, also those that would be refused.",
        "reason",
        Rejected::EACH.map(Rejected::label),
    )
}
