//! Metrics of publications and of the channels they are for.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::adder::Adder;
use crate::protocol::Format;

/// The value of the `protocol` label for what came in at the internal listener.
const API: &str = "api";

/// Values of the `outcome` label: all that was missed was there, or some of it may not have been.
pub const RECOVERED: &str = "recovered";
pub const LOST: &str = "lost";

pub struct PublicationMetrics {
    pub received: [IntCounter; Format::COUNT],
    pub api_received: IntCounter,
    pub delivered: [IntCounter; Format::COUNT],
    pub skipped: IntCounter,
    pub history_resumes: IntCounterVec,
    pub publish_duration: Histogram,
    pub relay_duration: Histogram,
    pub delivery_duration: Histogram,
    pub channels: IntGauge,
    pub subscriptions: IntGauge,
}

impl PublicationMetrics {
    pub fn new(add: &Adder<'_>) -> Self {
        let protocols = Format::EACH.map(Format::label);
        let received = add.counters(
            "publications_received_total",
            "Publications that clients and services asked this node for.",
            "protocol",
            protocols.into_iter().chain([API]),
        );
        let delivered = add.counters(
            "publications_delivered_total",
            "Publications put in line for a socket, once for each subscriber.",
            "protocol",
            protocols,
        );
        Self {
            received: protocols.map(|it| received.with_label_values(&[it])),
            api_received: received.with_label_values(&[API]),
            delivered: protocols.map(|it| delivered.with_label_values(&[it])),
            skipped: add.counter(
                "publications_skipped_total",
                "Publications that gave way to newer ones because a socket had no room, where the \
                 channel's delivery is `latest`.",
            ),
            history_resumes: history_resumes(add),
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
            channels: add.gauge("channels", "Channels with local subscribers."),
            subscriptions: add.gauge("subscriptions", "Subscriptions of local sessions."),
        }
    }
}

fn history_resumes(add: &Adder<'_>) -> IntCounterVec {
    add.counters(
        "history_resumes_total",
        "Clients that came back with a position, by whether nothing they missed is missing.",
        "outcome",
        [RECOVERED, LOST],
    )
}
