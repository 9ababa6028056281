//! The node itself: its start and end, its tasks, and what keeps it from being ready.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use super::metrics::METRICS;
use super::unready::Unready;
use crate::publication::NodeId;

/// The node listens on both ports.
pub fn listening(node: NodeId, public: SocketAddr, internal: SocketAddr, broker: &str) {
    tracing::info!(%node, %public, %internal, broker, "listening");
}

/// The demo page is served, here.
pub fn demo(url: &str) {
    tracing::info!(url, "demo page");
}

/// The node was told to leave. `why`: by what. `longest`: after so long it is gone, whoever is left.
pub fn draining(
    why: &str,
    connections: usize,
    delay: Duration,
    period: Duration,
    longest: Duration,
) {
    tracing::info!(
        why,
        connections,
        delay_seconds = delay.as_secs_f64(),
        period_seconds = period.as_secs_f64(),
        longest_seconds = longest.as_secs_f64(),
        "draining: waiting for the connections to close, for longest_seconds at most; a second signal stops at once"
    );
}

/// It has not left yet. `left`: after so long it is gone.
pub fn still_draining(connections: usize, left: Duration) {
    tracing::info!(connections, longest_seconds = left.as_secs_f64(), "still draining");
}

/// A signal came to a node that was draining already, as it was asked to at the internal listener.
pub fn draining_already(signal: &str) {
    tracing::info!(signal, "draining already; another signal stops at once");
}

/// The node is in this phase of its life.
pub fn drain_phase(phase: i64) {
    METRICS.node.drain_phase.set(phase);
}

/// A second signal came: nobody wants to wait for the drain.
pub fn stopped_at_once() {
    tracing::warn!("stopped at once by a second signal; connections were cut off");
}

/// All connections are gone, or the time for it is over.
pub fn stopped(remaining: usize) {
    match remaining {
        0 => tracing::info!("stopped"),
        _ => tracing::warn!(remaining, "stopped with connections that did not close in time"),
    }
}

/// A task panicked that the node cannot do without; the process ends.
pub fn vital_task_panicked(task: &str) {
    tracing::error!(
        task,
        "a critical task panicked; the node ends so that another can take its place"
    );
}

/// The wall clock went so many milliseconds further than time did.
pub fn clock_stepped(millis: i64) {
    METRICS.node.clock_steps.inc();
    tracing::warn!(
        millis,
        "the wall clock stepped; sessions end when their tokens say by the new time"
    );
}

/// Most memory that the process may use, in bytes.
pub fn memory_max(bytes: usize) {
    METRICS.node.memory_max.set(bytes as i64);
}

/// The process is near its ceiling and takes no more connections.
pub fn memory_short(why: &dyn Display) {
    tracing::warn!(%why, "short of memory; new connections are refused");
}

/// There is room again.
pub fn memory_recovered(why: &dyn Display) {
    tracing::info!(%why, "enough memory again");
}

/// Connections were closed for what they owed.
pub fn memory_shed(connections: usize, bytes: usize) {
    tracing::warn!(connections, bytes, "short of memory; closed the slowest connections");
}

/// So late the event loop ran what was due.
pub fn event_loop_lag(lag: Duration) {
    METRICS.node.event_loop_lag.observe(lag.as_secs_f64());
}

/// The event loop lags so much that the node is not ready.
pub fn event_loop_lagging(why: &dyn Display) {
    tracing::warn!(%why, "the event loop lags; not ready for more clients");
}

/// It has been well below its limit for a while.
pub fn event_loop_recovered() {
    tracing::info!("the event loop runs in time again");
}

/// Is the node kept from being ready by this?
pub fn unready(reason: Unready, is_unready: bool) {
    METRICS.node.unready[reason as usize].set(i64::from(is_unready));
}
