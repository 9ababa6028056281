//! Registers metrics, with the project's prefix and common buckets.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Bucket bounds in seconds: from a relay to a few subscribers to the time when people give up. The same for
/// all histograms, on every node and in every version, so that they can be summed over replicas.
pub const SECONDS: [f64; 19] = [
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1., 2.5, 5., 10.,
];

pub struct Adder<'a>(&'a Registry);

impl<'a> Adder<'a> {
    pub fn new(registry: &'a Registry) -> Self {
        Self(registry)
    }

    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::with_opts(opts(name, help)).expect("a valid counter"))
    }

    /// One counter for each of the label's `values`, all present from the start.
    pub fn counters<'v>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = &'v str>,
    ) -> IntCounterVec {
        let counters = self.counters_of(name, help, &[label]);
        values.into_iter().for_each(|value| _ = counters.with_label_values(&[value]));
        counters
    }

    /// Counters with several labels. The caller makes each, so that all are present from the start.
    pub fn counters_of(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(opts(name, help), labels).expect("valid counters"))
    }

    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::with_opts(opts(name, help)).expect("a valid gauge"))
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(opts(name, help), labels).expect("valid gauges"))
    }

    pub fn histogram(&self, name: &str, help: &str) -> Histogram {
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
