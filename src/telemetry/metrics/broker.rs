//! Metrics of the broker.

use prometheus::{Histogram, IntCounter, IntGauge};

use super::adder::Adder;

pub struct BrokerMetrics {
    pub up: IntGauge,
    pub reconnects: IntCounter,
    pub probe_rtt: Histogram,
    pub subscriptions_wanted: IntGauge,
    pub subscriptions_confirmed: IntGauge,
}

impl BrokerMetrics {
    pub fn new(add: &Adder<'_>) -> Self {
        Self {
            up: add.gauge("broker_up", "1 while the broker is usable."),
            reconnects: add
                .counter("broker_reconnects_total", "Attempts to reconnect to the broker."),
            probe_rtt: add.histogram(
                "broker_probe_rtt_seconds",
                "Round trips of the node's own publications through the broker.",
            ),
            subscriptions_wanted: add
                .gauge("subscriptions_wanted", "Channels this node needs from the broker."),
            subscriptions_confirmed: add
                .gauge("subscriptions_confirmed", "Channels the broker has confirmed."),
        }
    }
}
