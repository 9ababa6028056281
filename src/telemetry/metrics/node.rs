//! Metrics of the node itself: its version, resources and health.

use prometheus::{Histogram, IntCounter, IntGauge};

use super::adder::Adder;
use crate::telemetry::unready::Unready;

pub struct NodeMetrics {
    pub drain_phase: IntGauge,
    pub unready: [IntGauge; Unready::COUNT],
    pub memory_max: IntGauge,
    pub event_loop_lag: Histogram,
    pub clock_steps: IntCounter,
    pub panics: IntCounter,
    pub log_lines_dropped: IntCounter,
}

impl NodeMetrics {
    pub fn new(add: &Adder<'_>) -> Self {
        facts(add);
        Self {
            drain_phase: add.gauge(
                "drain_phase",
                "0 while the node serves, 1 while it is not ready but still accepts connections, 2 while \
                 it closes its connections.",
            ),
            unready: unready(add),
            memory_max: add.gauge(
                "memory_max_bytes",
                "Memory of the process above which the node closes connections.",
            ),
            event_loop_lag: add.histogram(
                "event_loop_lag_seconds",
                "How late the event loop ran due tasks, measured every 100 ms. About a millisecond of \
                 it is the timer's own.",
            ),
            clock_steps: add.counter(
                "clock_steps_total",
                "Times the wall clock stepped by half a second or more.",
            ),
            panics: add.counter(
                "panics_total",
                "Panics of the program, each of them logged. A panic in a session ends that session.",
            ),
            log_lines_dropped: add.counter(
                "log_lines_dropped_total",
                "Log lines dropped because standard error was not read in time, or not writable.",
            ),
        }
    }
}

/// Constants of the process.
fn facts(add: &Adder<'_>) {
    add.gauges("build_info", "The version of this node; always 1.", &["version"])
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1);
    // The number of Tokio's workers, which respects a control group's quota.
    let cpus = std::thread::available_parallelism().map_or(1, |it| it.get() as i64);
    add.gauge("cpus", "CPUs that the node may use: the base for its CPU time.").set(cpus);
}

fn unready(add: &Adder<'_>) -> [IntGauge; Unready::COUNT] {
    let unready = add.gauges(
        "unready",
        "1 while this reason keeps the node from being ready for more clients.",
        &["reason"],
    );
    Unready::EACH.map(|it| unready.with_label_values(&[it.label()]))
}
