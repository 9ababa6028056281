//! Metrics of publications and channels.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::adder::Adder;
use crate::protocol::Format;

/// The value of the `protocol` label for publications at the internal listener.
const API: &str = "api";

/// Values of the `outcome` label: all missed publications were recovered, or some may be missing.
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
    pub patterns: IntGauge,
}

impl PublicationMetrics {
    pub fn new(add: &Adder<'_>) -> Self {
        let protocols = Format::EACH.map(Format::label);
        let received = add.counters(
            "publications_received_total",
            "Publications that clients and services sent to this node.",
            "protocol",
            protocols.into_iter().chain([API]),
        );
        let delivered = add.counters(
            "publications_delivered_total",
            "Publications queued for a socket, once for each subscriber.",
            "protocol",
            protocols,
        );
        Self {
            received: protocols.map(|it| received.with_label_values(&[it])),
            api_received: received.with_label_values(&[API]),
            delivered: protocols.map(|it| delivered.with_label_values(&[it])),
            skipped: add.counter(
                "publications_skipped_total",
                "Publications dropped for newer ones because a socket had no room, on channels whose \
                 delivery is `latest`.",
            ),
            history_resumes: history_resumes(add),
            publish_duration: add
                .histogram("publish_duration_seconds", "From reading a frame to the broker's answer."),
            relay_duration: add.histogram(
                "relay_duration_seconds",
                "From receiving a publication from the broker to queueing it for the last local subscriber.",
            ),
            delivery_duration: add.histogram(
                "delivery_duration_seconds",
                "From the time the first node received a publication to the time this node queued it.",
            ),
            channels: add.gauge("channels", "Channels with local subscribers."),
            subscriptions: add.gauge("subscriptions", "Subscriptions of local sessions."),
            patterns: add.gauge(
                "patterns",
                "Subscriptions of local sessions to patterns, which are not in `tidegate_subscriptions`.",
            ),
        }
    }
}

fn history_resumes(add: &Adder<'_>) -> IntCounterVec {
    add.counters(
        "history_resumes_total",
        "Clients that resumed with a position, by whether all missed publications were recovered.",
        "outcome",
        [RECOVERED, LOST],
    )
}
