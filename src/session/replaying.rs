//! Queues what a client gets of a channel's past.

use std::sync::Arc;

use crate::close::Close;
use crate::hub::{RecentPublication, RunEnd, Subscriber};
use crate::protocol::Push;
use crate::telemetry;

/// Queues the publications that a client has missed.
pub fn push_backlog(subscriber: &Subscriber, channel: &str, backlog: &[Arc<RecentPublication>]) {
    let Subscriber { outbound, format, echo, reads_private, .. } = subscriber;
    let session = Some(outbound.session());
    let due = backlog.iter().filter(|it| *echo || it.publication.session != session);
    let due = due.filter(|it| *reads_private || !it.publication.is_private());
    telemetry::publications_recovered(*format, due.clone().count());
    outbound.push_backlog(due.map(|recent| recent.frame(channel, format.of_past())));
    if backlog.iter().any(|it| it.publication.end.is_some())
        && let Some(close) = format.close_at_end()
    {
        outbound.close(close);
    }
}

/// Tells the client that the run has ended.
pub fn push_end(subscriber: &Subscriber, channel: &str, RunEnd { position, reason }: &RunEnd) {
    let Subscriber { outbound, format, .. } = subscriber;
    let ended = Push::Ended { channel, reason, position: Some(*position) };
    if let Some(frame) = format.push(&ended) {
        outbound.push_own_or_close(frame);
    }
    if let Some(close) = format.close_at_end() {
        outbound.close(close);
    }
}

/// Tells the client that it may miss publications.
pub fn push_gap(subscriber: &Subscriber, channel: &str, reason: &'static str) {
    let Subscriber { outbound, format, closes_on_gap, .. } = subscriber;
    match format.push(&Push::Gap { channel, reason }) {
        Some(frame) => outbound.push_own_or_close(frame),
        None if *closes_on_gap => _ = outbound.close(Close::Gap),
        None => {}
    }
}
