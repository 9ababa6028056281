//! Adds a subscriber to a channel once the channel is live, from the position at which the client left off.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::channel_event::LOST;
use super::delivered_positions::RunEnd;
use super::recent_publications::{RecentPublication, ResumeCheck};
use super::recovery_queue::RecoveryTask;
use super::registry::Registry;
use super::subscribers::Subscriber;
use crate::broker::Unavailable;
use crate::publication::{Channel, Position, ReplayStart};

/// Longest backlog that is queued while the channel's lock is held.
const BACKLOG_LOCKED_MAX: usize = 32;

/// What a new subscriber gets first.
pub enum SubscribeEvent<'a> {
    /// `recovered`: whether it misses nothing of what it asked for; None if it asked for nothing, or for a
    /// number of publications.
    Subscribed { position: Option<Position>, recovered: Option<bool> },
    /// The publications that it missed, oldest first.
    Backlog(&'a [Arc<RecentPublication>]),
    /// The run has ended, and the backlog did not contain its end.
    Ended(&'a RunEnd),
    /// Publications after a `Subscribed` with `recovered` true are no longer available.
    Gap(&'static str),
}

/// Resolves once the channel is live. None: it is live already, or it keeps no history.
pub fn wait_open(
    registry: &Registry,
    channel: &Channel,
) -> Option<oneshot::Receiver<Result<(), Unavailable>>> {
    registry.open(channel);
    let channels = &registry.channels;
    channels
        .with_cursor(channel, |cursor, _| (!cursor.is_live()).then(|| cursor.wait_open()))
        .flatten()
}

/// Checks whether a new subscriber can get the past from this start on. The publications that it requests are
/// kept for a while.
pub fn check_resume(registry: &Registry, channel: &Channel, start: ReplayStart) -> ResumeCheck {
    let channels = &registry.channels;
    let Some(history) = channels.rules().of(channel.as_str()).history else {
        return ResumeCheck::No;
    };
    let check =
        channels.with_cursor(channel, |cursor, _| cursor.positions.check_resume(start, history));
    match check.unwrap_or(ResumeCheck::No) {
        ResumeCheck::Load(loaded) => {
            registry.recovery_queue.add(RecoveryTask::Load(channel.clone()));
            ResumeCheck::Read(loaded)
        }
        check => check,
    }
}

/// Adds a subscriber, which gets its position and backlog first. Returns the subscription's number.
///
/// A long backlog is queued before the channel's lock is taken, and only what arrived meanwhile under the
/// lock.
pub fn add_subscriber(
    registry: &Registry,
    channel: &Channel,
    subscriber: Subscriber,
    start: Option<ReplayStart>,
    on_event: &mut dyn FnMut(SubscribeEvent<'_>),
) -> u64 {
    // The session may not have waited for the broker's confirmation.
    registry.open(channel);
    let channels = &registry.channels;
    let merges = channels.rules().of(channel.as_str()).merges();
    let backlog = |publications: Vec<Arc<RecentPublication>>| match merges {
        true => RecentPublication::joined(&publications),
        false => publications,
    };
    let mut reached = None;
    if let Some(start) = start
        && let Some(replay) =
            channels.with_cursor(channel, |cursor, _| cursor.positions.replay(start)).flatten()
        && replay.publications.len() > BACKLOG_LOCKED_MAX
        && let Some(newest) = replay.publications.last()
    {
        let position = Some(newest.position());
        on_event(SubscribeEvent::Subscribed { position, recovered: replay.recovered });
        on_event(SubscribeEvent::Backlog(&backlog(replay.publications)));
        reached = position;
    }
    let session = subscriber.outbound.session();
    channels.add_subscriber(channel, subscriber, |cursor, number| {
        let position = cursor.as_ref().and_then(|cursor| cursor.last());
        // With a start, its backlog has the publications up to the position.
        let starts_after = position.filter(|_| start.is_none());
        registry.patterns.subscribed(session, channel, number, starts_after);
        let end = cursor.as_ref().and_then(|cursor| cursor.positions.run_end().cloned());
        let rest = cursor
            .zip(reached.map(ReplayStart::After).or(start))
            .and_then(|(cursor, start)| cursor.positions.replay(start));
        match (reached, &rest) {
            (None, _) => {
                let recovered = match (&rest, start) {
                    (Some(replay), _) => replay.recovered,
                    (None, Some(ReplayStart::After(_) | ReplayStart::First)) => Some(false),
                    (None, Some(ReplayStart::Newest(_)) | None) => None,
                };
                on_event(SubscribeEvent::Subscribed { position, recovered });
            }
            (Some(_), None) => on_event(SubscribeEvent::Gap(LOST)),
            (Some(_), Some(_)) => {}
        }
        let rest = rest.map(|replay| replay.publications).unwrap_or_default();
        let replayed = rest.last().map(|newest| newest.position()).or(reached);
        on_event(SubscribeEvent::Backlog(&backlog(rest)));
        if let Some(end) = end.filter(|end| Some(end.position) != replayed) {
            on_event(SubscribeEvent::Ended(&end));
        }
    })
}
