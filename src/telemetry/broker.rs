//! The broker: whether it is usable, what it refuses, and how many channels the node needs from it.

use std::fmt::Display;
use std::time::{Duration, Instant};

use super::metrics::METRICS;
use super::refusals;

/// The broker accepts publications and relays them.
pub fn broker_connected() {
    METRICS.broker.up.set(1);
    tracing::info!("broker connected");
}

/// The broker is not reachable, or no longer relays.
pub fn broker_lost(why: &dyn Display) {
    METRICS.broker.up.set(0);
    tracing::warn!(%why, "broker lost; reconnecting");
}

/// An attempt to reconnect to the broker begins.
pub fn broker_reconnecting() {
    METRICS.broker.reconnects.inc();
}

/// An attempt to reach the broker failed. `first`: this is the first since it was last reachable.
pub fn broker_unreachable(why: &dyn Display, first: bool) {
    match first {
        true => tracing::warn!(%why, "broker unreachable; retrying until it is reachable"),
        false => tracing::debug!(%why, "broker unreachable"),
    }
}

/// A query to Redis was not answered. Outages are reported for the connections that publish and subscribe.
pub fn broker_did_not_answer(error: &dyn Display) {
    tracing::debug!(%error, "redis did not answer a query");
}

/// No replica confirmed additions to histories in time; they are acknowledged nevertheless.
pub fn replicas_are_late(time: Duration) {
    let seconds = time.as_secs_f64();
    tracing::warn!(
        seconds,
        "no replica keeps up: until one does, a failover may lose acknowledged publications"
    );
}

/// Redis refused a command for a reason that only an operator can fix, such as `NOPERM`. `channel`: set only for
/// the nodes' own channels; users' channels are not logged. Warns the first time, and then once a minute.
pub fn broker_refused(command: &'static str, channel: &str, error: &dyn Display) {
    match refusals::is_due(command, channel, Instant::now()) {
        true => tracing::warn!(command, channel, %error, "redis refused a command"),
        false => tracing::debug!(command, channel, %error, "redis refused a command"),
    }
}

/// The number of cluster slots that are migrating to another master; 0: no longer any.
pub fn slots_move(slots: usize) {
    tracing::info!(slots, "redis migrates slots between masters");
}

/// Some channels of a migrating slot cannot be served. Warns at first, and then once a minute.
pub fn slot_is_stuck(why: &dyn Display) {
    match refusals::is_due("MIGRATE", "", Instant::now()) {
        true => tracing::warn!(%why, "a slot that redis moves cannot be used"),
        false => tracing::debug!(%why, "a slot that redis moves cannot be used"),
    }
}

/// The node refused a publication for which Redis would have closed the connection. Logged once for each limit.
pub fn broker_takes_no_more_than(limit: usize, bytes: usize) {
    tracing::warn!(
        limit_bytes = limit,
        bytes,
        "a publication is larger than redis accepts and was refused: raise proto-max-bulk-len and \
         client-query-buffer-limit there, or lower session.message_bytes_max"
    );
}

/// The node received its own probe publication from the broker.
pub fn broker_probed(round_trip: Duration) {
    METRICS.broker.probe_rtt.observe(round_trip.as_secs_f64());
}

/// How many channels the node needs from the broker, and how many the broker confirmed.
pub fn subscriptions(wanted: usize, confirmed: usize) {
    METRICS.broker.subscriptions_wanted.set(wanted as i64);
    METRICS.broker.subscriptions_confirmed.set(confirmed as i64);
}
