//! The node: its start and end, its tasks, and the reasons why it is not ready.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use super::metrics::METRICS;
use super::unready::Unready;
use crate::publication::NodeId;

/// The node listens on both addresses.
pub fn listening(node: NodeId, public: SocketAddr, internal: SocketAddr, broker: &str) {
    tracing::info!(%node, %public, %internal, broker, "listening");
}

/// The node listens for clients of one protocol without HTTP.
pub fn listening_directly(protocol: &str, address: SocketAddr) {
    tracing::info!(protocol, %address, "listening");
}

/// The demo pages are served at this URL.
pub fn demo(url: &str) {
    tracing::info!(url, "demo pages");
}

/// The node drains. `why`: the signal or request. `longest`: the time until it exits in any case.
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
        "draining: waiting up to longest_seconds for the connections to close; a second signal stops immediately"
    );
}

/// The drain continues. `left`: the time until the node exits in any case.
pub fn still_draining(connections: usize, left: Duration) {
    tracing::info!(connections, longest_seconds = left.as_secs_f64(), "still draining");
}

/// A signal arrived while the node was already draining by a request at the internal listener.
pub fn already_draining(signal: &str) {
    tracing::info!(signal, "already draining; another signal stops immediately");
}

/// The node entered this drain phase.
pub fn drain_phase(phase: i64) {
    METRICS.node.drain_phase.set(phase);
}

/// A second signal ended the drain.
pub fn stopped_immediately() {
    tracing::warn!("stopped immediately by a second signal; connections were cut off");
}

/// All connections have ended, or the time for it is over.
pub fn stopped(remaining: usize) {
    match remaining {
        0 => tracing::info!("stopped"),
        _ => tracing::warn!(remaining, "stopped with connections that did not close in time"),
    }
}

/// A task that the node cannot work without panicked; the process exits.
pub fn critical_task_panicked(task: &str) {
    tracing::error!(
        task,
        "a critical task panicked; the node exits so that its supervisor can replace it"
    );
}

/// The wall clock moved this many milliseconds more than the monotonic clock.
pub fn clock_stepped(millis: i64) {
    METRICS.node.clock_steps.inc();
    tracing::warn!(
        millis,
        "the wall clock stepped; sessions end when their tokens expire by the new time"
    );
}

/// The memory limit of the process, in bytes.
pub fn memory_max(bytes: usize) {
    METRICS.node.memory_max.set(bytes as i64);
}

/// The process is near its memory limit and accepts no more connections.
pub fn memory_short(why: &dyn Display) {
    tracing::warn!(%why, "short of memory; new connections are refused");
}

/// Enough memory is free again.
pub fn memory_recovered(why: &dyn Display) {
    tracing::info!(%why, "enough memory again");
}

/// Connections with large queues were closed to free memory.
pub fn memory_shed(connections: usize, bytes: usize) {
    tracing::warn!(connections, bytes, "short of memory; closed the slowest connections");
}

/// How late the event loop ran a due task.
pub fn event_loop_lag(lag: Duration) {
    METRICS.node.event_loop_lag.observe(lag.as_secs_f64());
}

/// The event loop lags so much that the node is not ready.
pub fn event_loop_lagging(why: &dyn Display) {
    tracing::warn!(%why, "the event loop lags; not ready for more clients");
}

/// The lag has been well below its limit for a while.
pub fn event_loop_recovered() {
    tracing::info!("the event loop runs on time again");
}

/// Whether this reason keeps the node from being ready.
pub fn unready(reason: Unready, is_unready: bool) {
    METRICS.node.unready[reason as usize].set(i64::from(is_unready));
}
