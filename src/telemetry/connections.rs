//! Connections: opened, closed, refused and slow ones, and their bytes.

use std::fmt::Display;
use std::time::Duration;

use super::metrics::METRICS;
use super::metrics::connections::{SLOW_BEHIND, SLOW_CLOSED};
use super::rejected::Rejected;
use crate::close::Close;
use crate::protocol::Format;

/// A handshake was answered and its session started.
pub fn connection_opened(format: Format, handshake: Duration) {
    METRICS.connections.open[format as usize].inc();
    METRICS.connections.opened.inc();
    METRICS.connections.handshake_duration.observe(handshake.as_secs_f64());
}

/// A session ended.
pub fn connection_closed(format: Format, close: Close) {
    METRICS.connections.open[format as usize].dec();
    METRICS.connections.closed.with_label_values(&[close.label()]).inc();
    let code = match close {
        Close::Client(code) => code,
        _ => None,
    };
    tracing::debug!(reason = close.label(), code, "connection closed");
}

/// A connection or request was refused. `why` is for the log: it may name the client's address, and never contains
/// what the client sent.
pub fn rejected(reason: Rejected, why: &dyn Display) {
    METRICS.connections.rejected.with_label_values(&[reason.label()]).inc();
    tracing::debug!(reason = reason.label(), %why, "rejected");
}

/// `accept` failed with a lasting error, and the listener pauses. `first`: it has not failed for a while.
pub fn accept_failed(error: &std::io::Error, first: bool) {
    METRICS.connections.rejected.with_label_values(&[Rejected::Accept.label()]).inc();
    match first {
        true => {
            tracing::warn!(%error, "cannot accept connections; raise the open-file limit or add nodes");
        }
        false => tracing::debug!(%error, "cannot accept connections"),
    }
}

/// `accept` succeeds again after failures.
pub fn accept_recovered() {
    tracing::info!("connections are accepted again");
}

/// Bytes were read from a client.
pub fn received_bytes(bytes: usize) {
    METRICS.connections.received_bytes.inc_by(bytes as u64);
}

/// Bytes were written to a client.
pub fn sent_bytes(bytes: usize) {
    METRICS.connections.sent_bytes.inc_by(bytes as u64);
}

/// A subscriber's outbound queue was full and its connection is being closed.
pub fn slow_consumer_closed() {
    METRICS.connections.slow_consumers.with_label_values(&[SLOW_CLOSED]).inc();
    tracing::debug!("slow consumer closed");
}

/// A subscriber's outbound queue was full, and it gets what follows once it has taken that.
pub fn subscriber_fell_behind() {
    METRICS.connections.slow_consumers.with_label_values(&[SLOW_BEHIND]).inc();
}

/// A pong was received.
pub fn pong_received(round_trip: Duration) {
    METRICS.connections.ping_rtt.observe(round_trip.as_secs_f64());
}
