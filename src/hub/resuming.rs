//! How a subscriber comes in: once its channel is live, and from the position where it was.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::channel_event::LOST;
use super::recent_publications::{RecentPublication, ResumeCheck};
use super::recovery_queue::RecoveryTask;
use super::registry::Registry;
use super::subscribers::Subscriber;
use crate::broker::Unavailable;
use crate::publication::{Channel, Position};

/// Longest backlog that is put in line while the channel's lock is held.
const BACKLOG_LOCKED_MAX: usize = 32;

/// What a subscriber is told when it comes in.
pub enum SubscribeEvent<'a> {
    /// `recovered`: None where it gave no position; else whether it misses nothing.
    Subscribed { position: Option<Position>, recovered: Option<bool> },
    /// What it has missed, oldest first.
    Backlog(&'a [Arc<RecentPublication>]),
    /// What it has missed since it was told that it misses nothing is gone.
    Gap(&'static str),
}

/// Resolves once the channel is live. None: it is, or it keeps no history.
pub fn opened(
    registry: &Registry,
    channel: &Channel,
) -> Option<oneshot::Receiver<Result<(), Unavailable>>> {
    registry.open(channel);
    let channels = &registry.channels;
    channels.with_tail(channel, |tail, _| (!tail.is_live()).then(|| tail.opened())).flatten()
}

/// May a client go on from `since`? What it asks for is kept for a while.
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

/// Adds a subscriber, which is told first where it comes in and what it has missed. Returns the
/// subscription's number.
///
/// A long backlog is said before the channel's lock is taken, and only what came meanwhile while
/// it is held.
pub fn join(
    registry: &Registry,
    channel: &Channel,
    subscriber: Subscriber,
    from: Option<Position>,
    say: &mut dyn FnMut(SubscribeEvent<'_>),
) -> u64 {
    // The session that asked for the channel may not have waited for it to flow.
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
