//! Metrics of the spans that are exported.

use prometheus::IntCounterVec;

use super::adder::Adder;

/// Values of the `outcome` label of spans: the collector took it, or did not; it found no room in line; or
/// there were too many in that second, and it was not made.
pub const EXPORTED: &str = "exported";
pub const FAILED: &str = "failed";
pub const DROPPED: &str = "dropped";
pub const LIMITED: &str = "limited";

pub struct SpanMetrics(IntCounterVec);

impl SpanMetrics {
    pub fn new(add: &Adder<'_>) -> Self {
        Self(add.counters(
            "trace_spans_total",
            "Spans, by what became of them: `exported`, those too of a request that the collector took \
             only in part; `failed`, it did not take them; `dropped`, there was no room in line; \
             `limited`, beyond what there may be in a second.",
            "outcome",
            [EXPORTED, FAILED, DROPPED, LIMITED],
        ))
    }

    /// Counts spans by what became of them.
    pub fn count(&self, outcome: &str, count: usize) {
        self.0.with_label_values(&[outcome]).inc_by(count as u64);
    }
}
