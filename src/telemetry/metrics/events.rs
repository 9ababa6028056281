//! Metrics of the events for the backend.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::adder::Adder;
use crate::telemetry::dropped_event::DroppedEvent;

pub struct EventMetrics {
    pub written: IntCounter,
    pub queued: IntGauge,
    pub dropped: IntCounterVec,
    pub last_success: IntGauge,
}

impl EventMetrics {
    pub fn new(add: &Adder<'_>) -> Self {
        Self {
            written: add.counter(
                "event_changes_written_total",
                "Changes that Redis has taken for `events.stream`. Not each is an event: a channel's second \
                 subscriber on another node causes none.",
            ),
            queued: add.gauge("event_changes_queued", "Changes that are not yet written to `events.stream`."),
            dropped: add.counters(
                "events_dropped_total",
                "Events that were not written, because Redis was unavailable for too long. The ends of sessions \
                 are then told with the reason `unknown`.",
                "type",
                DroppedEvent::EACH.map(DroppedEvent::label),
            ),
            last_success: add.gauge(
                "events_last_success_timestamp_seconds",
                "When Redis last took events or a renewal from this node, in Unix seconds. 0: `events.stream` is \
                 not set.",
            ),
        }
    }
}
