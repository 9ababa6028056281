//! Metrics of the nodes together.

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
            "Others that have gone for more than 30 s by other rules for Redis than this node does: \
             `redis`, 1 where those installed there are; `nodes`, so many other nodes. Histories, the \
             idempotency window and the database count, not who may do what.",
            &["with"],
        );
        for with in [WITH_REDIS, WITH_NODES] {
            rules_mismatch.with_label_values(&[with]);
        }
        Self {
            nodes: add.gauge(
                "fleet_nodes",
                "Nodes that this node knows of, itself included; those too that drain.",
            ),
            connections: add.gauge(
                "fleet_connections",
                "Connections of all these nodes, as they told within the last seconds.",
            ),
            rules_mismatch,
        }
    }
}
