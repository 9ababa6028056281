//! The metrics of the node, all present from the start at zero. No label has a value that a user chose.

mod adder;
mod broker;
pub mod connections;
mod events;
pub mod fleet;
mod node;
pub mod publications;
mod requests;
pub mod settings;
pub mod spans;

use std::sync::LazyLock;

use prometheus::{Encoder, Registry, TextEncoder};

use self::adder::Adder;
use self::broker::BrokerMetrics;
use self::connections::ConnectionMetrics;
use self::events::EventMetrics;
use self::fleet::FleetMetrics;
use self::node::NodeMetrics;
use self::publications::PublicationMetrics;
use self::requests::RequestMetrics;
use self::settings::SettingsMetrics;
use self::spans::SpanMetrics;

pub(super) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

pub(super) struct Metrics {
    registry: Registry,
    pub broker: BrokerMetrics,
    pub settings: SettingsMetrics,
    pub connections: ConnectionMetrics,
    pub events: EventMetrics,
    pub fleet: FleetMetrics,
    pub node: NodeMetrics,
    pub publications: PublicationMetrics,
    pub requests: RequestMetrics,
    pub spans: SpanMetrics,
}

impl Metrics {
    fn new() -> Self {
        let registry = Registry::new();
        let add = Adder::new(&registry);
        register_process(&registry);
        Self {
            broker: BrokerMetrics::new(&add),
            settings: SettingsMetrics::new(&add),
            connections: ConnectionMetrics::new(&add),
            events: EventMetrics::new(&add),
            fleet: FleetMetrics::new(&add),
            node: NodeMetrics::new(&add),
            publications: PublicationMetrics::new(&add),
            requests: RequestMetrics::new(&add),
            spans: SpanMetrics::new(&add),
            registry,
        }
    }
}

/// The `process_*` metrics, which the collector reads from Linux's `/proc`; other systems do not have them.
fn register_process(registry: &Registry) {
    #[cfg(target_os = "linux")]
    {
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process)).expect("each name is registered once");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = registry;
}

/// Values that are counted when metrics are requested, instead of at every change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Levels {
    pub channels: usize,
    pub subscriptions: usize,
    pub patterns: usize,
    pub outbound_queue_bytes: usize,
}

/// All metrics in Prometheus' text format.
pub fn exposition(levels: Levels) -> String {
    METRICS.publications.channels.set(levels.channels as i64);
    METRICS.publications.subscriptions.set(levels.subscriptions as i64);
    METRICS.publications.patterns.set(levels.patterns as i64);
    METRICS.connections.outbound_queue_bytes.set(levels.outbound_queue_bytes as i64);
    let mut text = Vec::new();
    TextEncoder::new()
        .encode(&METRICS.registry.gather(), &mut text)
        .expect("a vector takes every metric");
    String::from_utf8(text).expect("names, labels and helps are UTF-8")
}

#[cfg(test)]
mod tests;
