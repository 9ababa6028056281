//! Metrics of requests that are answered with one response.

use prometheus::IntCounter;

use super::adder::Adder;
use crate::telemetry::short_request::{STATUS_CLASSES, ShortRequest};

pub struct RequestMetrics {
    /// For each request, one counter for each class of statuses.
    pub answered: [[IntCounter; STATUS_CLASSES.len()]; ShortRequest::COUNT],
}

impl RequestMetrics {
    pub fn new(add: &Adder<'_>) -> Self {
        let answered = add.counters_of(
            "requests_total",
            "Short requests of clients on the public listener that were answered, by the class of the status.",
            &["request", "status"],
        );
        let of = |request: ShortRequest| {
            STATUS_CLASSES.map(|status| answered.with_label_values(&[request.label(), status]))
        };
        Self { answered: ShortRequest::EACH.map(of) }
    }
}
