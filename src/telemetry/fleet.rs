//! The other nodes: how many there are, whether they go by the same rules, and what is shed to them.

use std::time::Duration;

use super::metrics::METRICS;
use super::metrics::fleet::{WITH_NODES, WITH_REDIS};

/// So many nodes are known, this one included, and have so many connections together.
pub fn fleet(nodes: usize, connections: u64) {
    METRICS.fleet.nodes.set(nodes as i64);
    METRICS.fleet.connections.set(i64::try_from(connections).unwrap_or(i64::MAX));
}

/// Have the rules installed in Redis been others than this node's for some time?
pub fn rules_in_redis_differ(do_differ: bool) {
    METRICS.fleet.rules_mismatch.with_label_values(&[WITH_REDIS]).set(do_differ.into());
}

/// Somebody else's rules have been in force in Redis for some time. `by`: the node that installed them.
pub fn rules_replaced_in_redis(by: &str) {
    tracing::warn!(
        by,
        "the rules in Redis are not this node's: another node installed its own, or this one's are old"
    );
}

/// So many other nodes have gone by other rules than this one for some time.
pub fn nodes_with_other_rules(count: usize) {
    METRICS.fleet.rules_mismatch.with_label_values(&[WITH_NODES]).set(count as i64);
}

/// The same, by name, when it has come up.
pub fn rules_differ_between_nodes(nodes: &str) {
    tracing::warn!(
        nodes,
        "these nodes go by other rules for histories, or another database, under the same broker.prefix"
    );
}

/// The rules are the same again. `with`: everywhere in Redis, or on all nodes.
pub fn rules_agree_again(with: &str) {
    tracing::info!(with, "the rules are the same again");
}

/// Some connections are told to come back elsewhere. `why`: who wanted that.
pub fn shedding(why: &str, connections: usize, period: Duration) {
    let period = period.as_secs_f64();
    tracing::info!(why, connections, period_seconds = period, "shedding the oldest connections");
}
