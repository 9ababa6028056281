//! Publications that pass through the node, and those that clients recover.

use std::time::Duration;

use super::metrics::METRICS;
use super::metrics::publications::{LOST, RECOVERED};
use super::trace::{self, ParentSender, Trace};
use crate::protocol::Format;
use crate::publication::{Channel, Position, Publication};

/// A client's publication was received, and is sent to the broker.
pub fn publication_received(
    format: Format,
    channel: &Channel,
    publication: &mut Publication,
) -> Trace {
    METRICS.publications.received[format as usize].inc();
    trace::publish_began(channel, publication, ParentSender::Client)
}

/// A message of a client was appended to a stream.
pub fn stream_message_appended(format: Format) {
    METRICS.publications.received[format as usize].inc();
}

/// A service's publication was received at the internal listener.
pub fn api_publication_received(channel: &Channel, publication: &mut Publication) -> Trace {
    METRICS.publications.api_received.inc();
    trace::publish_began(channel, publication, ParentSender::Fleet)
}

/// The broker answered a client's publication.
pub fn publication_answered(
    trace: Trace,
    since_received: Duration,
    answer: Result<Option<Position>, &'static str>,
) {
    METRICS.publications.publish_duration.observe(since_received.as_secs_f64());
    trace::publish_answered(trace, answer);
}

/// The broker answered a service's publication.
pub fn api_publication_answered(trace: Trace, answer: Result<Option<Position>, &'static str>) {
    trace::publish_answered(trace, answer);
}

/// A publication was received from the broker, for this node's subscribers.
pub fn relay_began(channel: &str, publication: &Publication) -> Trace {
    trace::relay_began(channel, publication)
}

/// It was queued for all local subscribers.
pub fn publication_relayed(
    trace: Trace,
    delivered: [u64; Format::COUNT],
    relay: Duration,
    delivery: Option<Duration>,
) {
    for (counter, delivered) in METRICS.publications.delivered.iter().zip(delivered) {
        if delivered > 0 {
            counter.inc_by(delivered);
        }
    }
    METRICS.publications.relay_duration.observe(relay.as_secs_f64());
    if let Some(delivery) = delivery {
        METRICS.publications.delivery_duration.observe(delivery.as_secs_f64());
    }
    trace::relay_ended(trace, delivered.iter().sum());
}

/// A publication was queued for subscribers of patterns.
pub fn publication_delivered_by_patterns(delivered: [u64; Format::COUNT]) {
    for (counter, delivered) in METRICS.publications.delivered.iter().zip(delivered) {
        if delivered > 0 {
            counter.inc_by(delivered);
        }
    }
}

/// A client resumed with a position. `recovered`: nothing is missing.
pub fn history_resumed(recovered: bool) {
    let outcome = if recovered { RECOVERED } else { LOST };
    METRICS.publications.history_resumes.with_label_values(&[outcome]).inc();
}

/// A resumed client got the publications it had missed.
pub fn publications_recovered(format: Format, count: usize) {
    METRICS.publications.delivered[format as usize].inc_by(count as u64);
}

/// Publications of `latest` channels were dropped for newer ones before their sockets had room.
pub fn publications_skipped(count: u64) {
    METRICS.publications.skipped.inc_by(count);
}
