//! Metrics of exported spans.

use prometheus::IntCounterVec;

use super::adder::Adder;

/// Values of the `outcome` label of spans: the collector accepted the span; the collector did not; the queue was full;
/// the limit per second was reached, and the span was not made.
pub const EXPORTED: &str = "exported";
pub const FAILED: &str = "failed";
pub const DROPPED: &str = "dropped";
pub const LIMITED: &str = "limited";

pub struct SpanMetrics(IntCounterVec);

impl SpanMetrics {
    pub fn new(add: &Adder<'_>) -> Self {
        Self(add.counters(
            "trace_spans_total",
            "Spans by outcome: `exported`, including those of a request that the collector accepted only \
             in part; `failed`, the collector did not accept them; `dropped`, the queue was full; \
             `limited`, beyond the limit per second.",
            "outcome",
            [EXPORTED, FAILED, DROPPED, LIMITED],
        ))
    }

    /// Counts spans by outcome.
    pub fn count(&self, outcome: &str, count: usize) {
        self.0.with_label_values(&[outcome]).inc_by(count as u64);
    }
}
