//! The metrics of the node, all there from the start at zero. No label carries what a user chose.

use std::sync::LazyLock;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::Rejected;
use crate::close::Close;
use crate::protocol::Format;

/// What may keep a node from being ready: values of the `reason` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unready {
    Drain,
    Broker,
    Memory,
    Lag,
}

impl Unready {
    const COUNT: usize = 4;
    const EACH: [Self; Self::COUNT] = [Self::Drain, Self::Broker, Self::Memory, Self::Lag];

    pub fn label(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Broker => "broker",
            Self::Memory => "memory",
            Self::Lag => "lag",
        }
    }
}

/// The value of the `protocol` label for what came in at the internal listener.
const API: &str = "api";

/// What is counted by walking the node when somebody asks, rather than at every change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Levels {
    pub channels: usize,
    pub subscriptions: usize,
    pub outbound_queue_bytes: usize,
}

/// All metrics in Prometheus' text format.
pub fn exposition(levels: Levels) -> String {
    METRICS.channels.set(levels.channels as i64);
    METRICS.subscriptions.set(levels.subscriptions as i64);
    METRICS.outbound_queue_bytes.set(levels.outbound_queue_bytes as i64);
    let mut text = Vec::new();
    TextEncoder::new()
        .encode(&METRICS.registry.gather(), &mut text)
        .expect("a vector takes every metric");
    String::from_utf8(text).expect("names, labels and helps are UTF-8")
}

/// Values of the `outcome` label: all that was missed was there, or some of it may not have been.
pub(super) const RECOVERED: &str = "recovered";
pub(super) const LOST: &str = "lost";

/// Values of the `outcome` label of a reload.
pub(super) const TAKEN_UP: &str = "taken_up";
/// Values of the `outcome` label: TLS files that changed are in use, or cannot be.
pub(super) const REPLACED: &str = "replaced";
pub(super) const REFUSED: &str = "refused";

/// Values of the `listener` label, as the sections of the configuration are called.
const LISTENERS: [&str; 2] = ["server", "internal"];

/// Values of the `outcome` label of spans: the collector took it, or did not; it found no room in line; or
/// there were too many in that second, and it was not made.
pub(super) const SPANS_EXPORTED: &str = "exported";
pub(super) const SPANS_FAILED: &str = "failed";
pub(super) const SPANS_DROPPED: &str = "dropped";
pub(super) const SPANS_LIMITED: &str = "limited";

/// The values of the `with` label for rules that differ.
pub(super) const WITH_REDIS: &str = "redis";
pub(super) const WITH_NODES: &str = "nodes";

pub(super) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// The value of the `action` label for a slow consumer that was closed.
pub(super) const SLOW_CLOSED: &str = "closed";

/// Seconds; from where a relay to a few subscribers lands to where people give up. The same for all, on
/// every node and in every version: only then can replicas be added up.
const SECONDS: [f64; 19] = [
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1., 2.5, 5., 10.,
];

pub(super) struct Metrics {
    registry: Registry,
    pub connections: [IntGauge; Format::COUNT],
    pub connections_opened: IntCounter,
    pub connections_closed: IntCounterVec,
    pub publications_received: [IntCounter; Format::COUNT],
    pub api_publications_received: IntCounter,
    pub publications_delivered: [IntCounter; Format::COUNT],
    pub received_bytes: IntCounter,
    pub sent_bytes: IntCounter,
    pub subscriptions: IntGauge,
    pub channels: IntGauge,
    pub handshake_duration: Histogram,
    pub publish_duration: Histogram,
    pub relay_duration: Histogram,
    pub delivery_duration: Histogram,
    pub ping_rtt: Histogram,
    pub outbound_queue_bytes: IntGauge,
    pub publications_skipped: IntCounter,
    pub slow_consumers: IntCounterVec,
    pub history_resumes: IntCounterVec,
    pub rejected: IntCounterVec,
    pub config_reloads: IntCounterVec,
    pub clock_steps: IntCounter,
    pub config_refused: IntGauge,
    pub tls_reloads: IntCounterVec,
    pub tls_files_refused: IntGaugeVec,
    pub panics: IntCounter,
    pub log_lines_dropped: IntCounter,
    spans: IntCounterVec,
    pub memory_max: IntGauge,
    pub drain_phase: IntGauge,
    pub fleet_nodes: IntGauge,
    pub fleet_connections: IntGauge,
    pub rules_mismatch: IntGaugeVec,
    pub event_loop_lag: Histogram,
    pub unready: [IntGauge; Unready::COUNT],
    pub revocations: IntGauge,
    pub broker_up: IntGauge,
    pub broker_reconnects: IntCounter,
    pub broker_probe_rtt: Histogram,
    pub subscriptions_wanted: IntGauge,
    pub subscriptions_confirmed: IntGauge,
}

impl Metrics {
    fn new() -> Self {
        let registry = Registry::new();
        let add = Adder(&registry);
        let connections =
            add.gauges("connections", "Open connections.", &["transport", "protocol"]);
        let received = add.counters(
            "publications_received_total",
            "Publications that clients and services asked this node for.",
            &["protocol"],
        );
        let delivered = add.counters(
            "publications_delivered_total",
            "Publications put in line for a socket, once for each subscriber.",
            &["protocol"],
        );
        let closed =
            add.counters("connections_closed_total", "Connections that ended.", &["reason"]);
        for close in Close::EACH {
            closed.with_label_values(&[close.label()]);
        }
        let rejected = add.counters(
            "rejected_total",
            "Connections and requests refused; with `limits.dry_run`, also those that would have been.",
            &["reason"],
        );
        for reason in Rejected::EACH {
            rejected.with_label_values(&[reason.label()]);
        }
        let slow = add.counters(
            "slow_consumers_total",
            "Subscribers that could not keep up, by what was done about it.",
            &["action"],
        );
        slow.with_label_values(&[SLOW_CLOSED]);
        let resumes = add.counters(
            "history_resumes_total",
            "Clients that came back with a position, by whether nothing they missed is missing.",
            &["outcome"],
        );
        for outcome in [RECOVERED, LOST] {
            resumes.with_label_values(&[outcome]);
        }
        let reloads = add.counters(
            "config_reloads_total",
            "Times the configuration was read again, by whether it was taken up.",
            &["outcome"],
        );
        for outcome in [TAKEN_UP, REFUSED] {
            reloads.with_label_values(&[outcome]);
        }
        let tls_reloads = add.counters(
            "tls_reloads_total",
            "Times that a listener's TLS files had changed, by whether they could be used.",
            &["outcome"],
        );
        for outcome in [REPLACED, REFUSED] {
            tls_reloads.with_label_values(&[outcome]);
        }
        let tls_files_refused = add.gauges(
            "tls_files_refused",
            "1 while a listener's TLS files cannot be used, and those from before stay in use.",
            &["listener"],
        );
        for listener in LISTENERS {
            tls_files_refused.with_label_values(&[listener]);
        }
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
        let spans = add.counters(
            "trace_spans_total",
            "Spans, by what became of them: `exported`, those too of a request that the collector took \
             only in part; `failed`, it did not take them; `dropped`, there was no room in line; \
             `limited`, beyond what there may be in a second.",
            &["outcome"],
        );
        for outcome in [SPANS_EXPORTED, SPANS_FAILED, SPANS_DROPPED, SPANS_LIMITED] {
            spans.with_label_values(&[outcome]);
        }
        let unready = add.gauges(
            "unready",
            "1 while this keeps the node from being ready for more clients.",
            &["reason"],
        );
        add.gauges("build_info", "The version of this node; always 1.", &["version"])
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        // As many as Tokio starts workers: a control group's quota counts.
        let cpus = std::thread::available_parallelism().map_or(1, |it| it.get() as i64);
        add.gauge(
            "cpus",
            "CPUs that the node may use, and so what its CPU time is measured against.",
        )
        .set(cpus);
        registry
            .register(Box::new(ProcessCollector::for_self()))
            .expect("each name is registered once");
        Self {
            connections: Format::EACH
                .map(|it| connections.with_label_values(&[it.framing(), it.label()])),
            connections_opened: add.counter("connections_opened_total", "Connections opened."),
            connections_closed: closed,
            publications_received: Format::EACH
                .map(|it| received.with_label_values(&[it.label()])),
            api_publications_received: received.with_label_values(&[API]),
            publications_delivered: Format::EACH
                .map(|it| delivered.with_label_values(&[it.label()])),
            received_bytes: add.counter("received_bytes_total", "Bytes read from clients."),
            sent_bytes: add.counter("sent_bytes_total", "Bytes written to clients."),
            subscriptions: add.gauge("subscriptions", "Subscriptions of local sessions."),
            channels: add.gauge("channels", "Channels with local subscribers."),
            handshake_duration: add.histogram(
                "handshake_duration_seconds",
                "From an accepted socket to its answered upgrade.",
            ),
            publish_duration: add
                .histogram("publish_duration_seconds", "From a frame read to the broker's answer."),
            relay_duration: add.histogram(
                "relay_duration_seconds",
                "From a publication received of the broker to the last local queue it was put in.",
            ),
            delivery_duration: add.histogram(
                "delivery_duration_seconds",
                "From the first node taking a publication to this node having it in its queues.",
            ),
            ping_rtt: add.histogram("ping_rtt_seconds", "Round trips of WebSocket pings."),
            outbound_queue_bytes: add.gauge(
                "outbound_queue_bytes",
                "Bytes that wait for slow sockets, all connections together.",
            ),
            publications_skipped: add.counter(
                "publications_skipped_total",
                "Publications that gave way to newer ones because a socket had no room, where the \
                 channel's delivery is `latest`.",
            ),
            slow_consumers: slow,
            history_resumes: resumes,
            rejected,
            spans,
            config_reloads: reloads,
            clock_steps: add.counter(
                "clock_steps_total",
                "Times the wall clock stepped by half a second or more.",
            ),
            config_refused: add.gauge(
                "config_refused",
                "1 while the configuration in the file is refused, and the one from before is in force.",
            ),
            tls_reloads,
            tls_files_refused,
            panics: add.counter(
                "panics_total",
                "Faults of the program itself, each in the log; one in a session ends that session.",
            ),
            log_lines_dropped: add.counter(
                "log_lines_dropped_total",
                "Log lines that were dropped because standard error was not read in time, or not writable.",
            ),
            memory_max: add.gauge(
                "memory_max_bytes",
                "Most memory of the process before it sheds connections.",
            ),
            drain_phase: add.gauge(
                "drain_phase",
                "0 while the node serves, 1 while it is not ready but still accepts, 2 while it closes \
                 its connections.",
            ),
            fleet_nodes: add.gauge(
                "fleet_nodes",
                "Nodes that this node knows of, itself included; those too that drain.",
            ),
            rules_mismatch,
            fleet_connections: add.gauge(
                "fleet_connections",
                "Connections of all these nodes, as they told within the last seconds.",
            ),
            event_loop_lag: add.histogram(
                "event_loop_lag_seconds",
                "How late the event loop ran what was due, looked at every 100 ms. About a \
                 millisecond is the timer's own.",
            ),
            unready: Unready::EACH.map(|it| unready.with_label_values(&[it.label()])),
            revocations: add.gauge(
                "revocations",
                "Users who were disconnected and whose tokens issued until then are refused.",
            ),
            broker_up: add.gauge("broker_up", "1 while the broker can be used."),
            broker_reconnects: add
                .counter("broker_reconnects_total", "Attempts to reach the broker again."),
            broker_probe_rtt: add.histogram(
                "broker_probe_rtt_seconds",
                "Round trips of the node's own publications through the broker.",
            ),
            subscriptions_wanted: add
                .gauge("subscriptions_wanted", "Channels this node wants of the broker."),
            subscriptions_confirmed: add
                .gauge("subscriptions_confirmed", "Channels the broker has confirmed."),
            registry,
        }
    }
}

impl Metrics {
    /// Counts spans by what became of them.
    pub fn spans(&self, outcome: &str, count: usize) {
        self.spans.with_label_values(&[outcome]).inc_by(count as u64);
    }
}

/// Registers metrics under the project's prefix.
struct Adder<'a>(&'a Registry);

impl Adder<'_> {
    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::with_opts(opts(name, help)).expect("a valid counter"))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(opts(name, help), labels).expect("valid counters"))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::with_opts(opts(name, help)).expect("a valid gauge"))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(opts(name, help), labels).expect("valid gauges"))
    }

    fn histogram(&self, name: &str, help: &str) -> Histogram {
        let opts = HistogramOpts::from(opts(name, help)).buckets(SECONDS.to_vec());
        self.register(Histogram::with_opts(opts).expect("a valid histogram"))
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        self.0.register(Box::new(collector.clone())).expect("each name is registered once");
        collector
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("tidegate")
}

#[cfg(test)]
mod tests;
