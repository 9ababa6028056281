//! The other nodes: their number, whether their rules agree, and shedding connections to them.

use std::time::Duration;

use super::metrics::METRICS;
use super::metrics::fleet::{WITH_NODES, WITH_REDIS};

/// The number of known nodes, including this one, and of their connections.
pub fn fleet(nodes: usize, connections: u64) {
    METRICS.fleet.nodes.set(nodes as i64);
    METRICS.fleet.connections.set(i64::try_from(connections).unwrap_or(i64::MAX));
}

/// Whether the rules installed in Redis have differed from this node's for some time.
pub fn rules_in_redis_differ(do_differ: bool) {
    METRICS.fleet.rules_mismatch.with_label_values(&[WITH_REDIS]).set(do_differ.into());
}

/// Another fleet's or older rules have been in force in Redis for some time. `by`: the node that installed them.
pub fn rules_replaced_in_redis(by: &str) {
    tracing::warn!(
        by,
        "the rules in Redis are not this node's: another node installed its own, or this node's are older"
    );
}

/// The number of other nodes whose rules have differed from this node's for some time.
pub fn nodes_with_other_rules(count: usize) {
    METRICS.fleet.rules_mismatch.with_label_values(&[WITH_NODES]).set(count as i64);
}

/// The names of those nodes, when the difference appears.
pub fn rules_differ_between_nodes(nodes: &str) {
    tracing::warn!(
        nodes,
        "these nodes use other rules for histories, or another database, with the same broker.prefix"
    );
}

/// The rules agree again. `with`: in Redis, or on all nodes.
pub fn rules_agree_again(with: &str) {
    tracing::info!(with, "the rules agree again");
}

/// The node tells some clients to reconnect to other nodes. `why`: the cause.
pub fn shedding(why: &str, connections: usize, period: Duration) {
    let period = period.as_secs_f64();
    tracing::info!(why, connections, period_seconds = period, "shedding the oldest connections");
}
