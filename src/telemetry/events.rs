//! Events for the backend: what was written, and what had to be dropped.

use std::time::{SystemTime, UNIX_EPOCH};

use super::dropped_event::DroppedEvent;
use super::metrics::METRICS;

/// The broker has taken so many changes; 0: only a renewal.
pub fn events_written(changes: usize) {
    METRICS.events.written.inc_by(changes as u64);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    METRICS.events.last_success.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
}

/// So many changes are not yet written.
pub fn events_queued(changes: usize) {
    METRICS.events.queued.set(i64::try_from(changes).unwrap_or(i64::MAX));
}

/// An event was dropped, because the broker was unavailable for too long.
pub fn event_dropped(event: DroppedEvent) {
    METRICS.events.dropped.with_label_values(&[event.label()]).inc();
}
