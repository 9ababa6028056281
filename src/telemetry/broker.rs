//! The broker: whether it can be used, what it refuses, and how many channels are wanted of it.

use std::fmt::Display;
use std::time::{Duration, Instant};

use super::metrics::METRICS;
use super::refusals;

/// The broker can be published to and relays what is published.
pub fn broker_connected() {
    METRICS.broker.up.set(1);
    tracing::info!("broker connected");
}

/// The broker cannot be reached, or no longer relays.
pub fn broker_lost(why: &dyn Display) {
    METRICS.broker.up.set(0);
    tracing::warn!(%why, "broker lost; reconnecting");
}

/// An attempt to reach the broker again begins.
pub fn broker_reconnecting() {
    METRICS.broker.reconnects.inc();
}

/// An attempt to reach the broker failed. `first`: it has not been reached so far.
pub fn broker_unreachable(why: &dyn Display, first: bool) {
    match first {
        true => tracing::warn!(%why, "broker unreachable; trying again for ever"),
        false => tracing::debug!(%why, "broker unreachable"),
    }
}

/// A question to Redis had no answer. The connections that publish and subscribe tell of outages.
pub fn broker_did_not_answer(error: &dyn Display) {
    tracing::debug!(%error, "redis did not answer a question");
}

/// No replica confirmed what was appended to histories in time; it is acknowledged all the same.
pub fn replicas_are_late(time: Duration) {
    let seconds = time.as_secs_f64();
    tracing::warn!(
        seconds,
        "no replica keeps up: until one does, a failover may lose what was acknowledged"
    );
}

/// Redis refused a command that only an operator can mend, such as `NOPERM`. `channel`: where it is about some
/// of the nodes' own, these; users' are not logged. The first is a warning, and then one a minute.
pub fn broker_refused(command: &'static str, channel: &str, error: &dyn Display) {
    match refusals::is_due(command, channel, Instant::now()) {
        true => tracing::warn!(command, channel, %error, "redis refused a command"),
        false => tracing::debug!(command, channel, %error, "redis refused a command"),
    }
}

/// So many slots of the cluster are on their way to another master; 0: none any more.
pub fn slots_move(slots: usize) {
    tracing::info!(slots, "redis moves slots from master to master");
}

/// The channels of a slot that is on its way cannot all be served. Told when it begins, and then once a minute.
pub fn slot_is_stuck(why: &dyn Display) {
    match refusals::is_due("MIGRATE", "", Instant::now()) {
        true => tracing::warn!(%why, "a slot that redis moves cannot be used"),
        false => tracing::debug!(%why, "a slot that redis moves cannot be used"),
    }
}

/// A publication was refused, as Redis would have ended the connection for it. Told once for each limit.
pub fn broker_takes_no_more_than(limit: usize, bytes: usize) {
    tracing::warn!(
        limit_bytes = limit,
        bytes,
        "a publication is larger than redis takes and was refused: raise proto-max-bulk-len and \
         client-query-buffer-limit there, or lower session.message_bytes_max"
    );
}

/// The node's own publication came back from the broker.
pub fn broker_probed(round_trip: Duration) {
    METRICS.broker.probe_rtt.observe(round_trip.as_secs_f64());
}

/// How many channels the node wants of the broker, and how many the broker confirmed.
pub fn subscriptions(wanted: usize, confirmed: usize) {
    METRICS.broker.subscriptions_wanted.set(wanted as i64);
    METRICS.broker.subscriptions_confirmed.set(confirmed as i64);
}
