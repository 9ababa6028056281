//! Metrics of the fleet.

use prometheus::{IntGauge, IntGaugeVec};

use super::adder::Adder;

/// The values of the `with` label for rules that differ.
pub const WITH_REDIS: &str = "redis";
pub const WITH_NODES: &str = "nodes";

pub struct FleetMetrics {
    pub nodes: IntGauge,
    pub connections: IntGauge,
    pub rules_mismatch: IntGaugeVec,
}

impl FleetMetrics {
    pub fn new(add: &Adder<'_>) -> Self {
        let rules_mismatch = add.gauges(
            "rules_mismatch",
            "Whether others have used other rules for Redis than this node for more than 30 s: `redis`, 1 \
             if the rules installed there differ; `nodes`, the number of other nodes that differ. Compares \
             histories, the idempotency window and the database, not access.",
            &["with"],
        );
        for with in [WITH_REDIS, WITH_NODES] {
            rules_mismatch.with_label_values(&[with]);
        }
        Self {
            nodes: add.gauge(
                "fleet_nodes",
                "Nodes that this node knows of, including itself and those that drain.",
            ),
            connections: add.gauge(
                "fleet_connections",
                "Connections of all these nodes, as they reported within the last seconds.",
            ),
            rules_mismatch,
        }
    }
}
