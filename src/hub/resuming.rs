//! Adds a subscriber to a channel once the channel is live, from the position at which the client left off.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::channel_event::LOST;
use super::recent_publications::{RecentPublication, ResumeCheck};
use super::recovery_queue::RecoveryTask;
use super::registry::Registry;
use super::subscribers::Subscriber;
use crate::broker::Unavailable;
use crate::publication::{Channel, Position};

/// Longest backlog that is queued while the channel's lock is held.
const BACKLOG_LOCKED_MAX: usize = 32;

/// What a new subscriber gets first.
pub enum SubscribeEvent<'a> {
    /// `recovered`: whether it misses nothing; None if it gave no position.
    Subscribed { position: Option<Position>, recovered: Option<bool> },
    /// The publications that it missed, oldest first.
    Backlog(&'a [Arc<RecentPublication>]),
    /// Publications after a `Subscribed` with `recovered` true are no longer available.
    Gap(&'static str),
}

/// Resolves once the channel is live. None: it is live already, or it keeps no history.
pub fn opened(
    registry: &Registry,
    channel: &Channel,
) -> Option<oneshot::Receiver<Result<(), Unavailable>>> {
    registry.open(channel);
    let channels = &registry.channels;
    channels.with_tail(channel, |tail, _| (!tail.is_live()).then(|| tail.opened())).flatten()
}

/// Checks whether a client can resume from `since`. The publications that it requests are kept for a while.
pub fn since(registry: &Registry, channel: &Channel, since: Position) -> ResumeCheck {
    let channels = &registry.channels;
    let Some(history) = channels.rules().of(channel.as_str()).history else {
        return ResumeCheck::No;
    };
    let since = channels.with_tail(channel, |tail, _| tail.cursor.since(since, history));
    match since.unwrap_or(ResumeCheck::No) {
        ResumeCheck::Load(loaded) => {
            registry.recovery_queue.add(RecoveryTask::Load(channel.clone()));
            ResumeCheck::Read(loaded)
        }
        since => since,
    }
}

/// Adds a subscriber, which gets its position and backlog first. Returns the subscription's number.
///
/// A long backlog is queued before the channel's lock is taken, and only what arrived meanwhile under the
/// lock.
pub fn join(
    registry: &Registry,
    channel: &Channel,
    subscriber: Subscriber,
    from: Option<Position>,
    say: &mut dyn FnMut(SubscribeEvent<'_>),
) -> u64 {
    // The session may not have waited for the broker's confirmation.
    registry.open(channel);
    let mut reached = None;
    if let Some(from) = from
        && let ResumeCheck::Yes(backlog) = since(registry, channel, from)
        && backlog.len() > BACKLOG_LOCKED_MAX
        && let Some(newest) = backlog.last()
    {
        let position = Some(newest.position());
        say(SubscribeEvent::Subscribed { position, recovered: Some(true) });
        say(SubscribeEvent::Backlog(&backlog));
        reached = position;
    }
    registry.channels.add_subscriber(channel, subscriber, |tail| {
        let position = tail.as_ref().and_then(|tail| tail.last());
        let rest =
            tail.zip(reached.or(from)).and_then(|(tail, position)| tail.cursor.after(position));
        match (reached, &rest) {
            (None, _) => {
                let recovered = from.map(|_| rest.is_some());
                say(SubscribeEvent::Subscribed { position, recovered });
            }
            (Some(_), None) => say(SubscribeEvent::Gap(LOST)),
            (Some(_), Some(_)) => {}
        }
        say(SubscribeEvent::Backlog(&rest.unwrap_or_default()));
    })
}
