//! The registry's part in catching up: each step takes the channel's lock for a few lines, lets its
//! [`Tail`](super::tail::Tail) decide, and tells the subscribers of that moment what it says.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::recent::{Kept, Since};
use super::recovery::Work;
use super::registry::Registry;
use super::subscribers::Subscriber;
use super::tail::{Item, LOST, Next, Tail};
use crate::broker::Unavailable;
use crate::protocol::Push;
use crate::publication::{Channel, Position, Publication};

/// Longest backlog that is put in line while the channel's lock is held.
const BACKLOG_LOCKED_MAX: usize = 32;

/// What a subscriber is told when it comes in.
pub enum Word<'a> {
    /// `recovered`: None where it gave no position; else whether it misses nothing.
    Subscribed { position: Option<Position>, recovered: Option<bool> },
    /// What it has missed, oldest first.
    Backlog(&'a [Arc<Kept>]),
    /// What it has missed since it was told that it misses nothing is gone.
    Gap(&'static str),
}

impl Registry {
    /// The channel flows: where does its history end?
    pub(super) fn open(&self, channel: &Channel) {
        let reading = self.with_tail(channel, |tail, _| tail.open()).flatten();
        if let Some(reading) = reading {
            self.agenda().add(Work::Open(channel.clone(), reading, 0));
        }
    }

    /// The channel flows again: what was missed is read, or told.
    pub(super) fn interrupted(&self, channel: &Channel, reason: &'static str) {
        match self.with_tail(channel, |tail, _| tail.interrupt()) {
            Some(reading) => self.agenda().add(Work::Open(channel.clone(), reading, 0)),
            None => self.push_gap(channel.as_str(), reason),
        }
    }

    /// Resolves once the channel is live. None: it is, or it keeps no history.
    pub(super) fn opened(
        &self,
        channel: &Channel,
    ) -> Option<oneshot::Receiver<Result<(), Unavailable>>> {
        self.open(channel);
        self.with_tail(channel, |tail, _| (!tail.is_live()).then(|| tail.opened())).flatten()
    }

    pub(super) fn when_settled(
        &self,
        channel: &Channel,
        say: impl FnOnce(Option<Position>),
    ) -> bool {
        let mut shard = self.shard(channel.as_str());
        let wanted = shard.wanted(channel.as_str());
        // A delivery takes the channel's lock when it begins, and holds a snapshot until it ends.
        if wanted.as_ref().is_some_and(|wanted| wanted.subscribers.is_walked()) {
            return false;
        }
        say(wanted.and_then(|wanted| wanted.tail).and_then(|tail| tail.last()));
        true
    }

    pub(super) fn is_reading(&self, channel: &Channel, reading: u64) -> bool {
        self.with_tail(channel, |tail, _| tail.is_reading(reading)).unwrap_or(false)
    }

    /// From where on the channel is to be read. None: this reading no longer counts.
    pub(super) fn reads_after(&self, channel: &Channel, reading: u64) -> Option<Position> {
        self.with_tail(channel, |tail, _| tail.last().filter(|_| tail.is_reading(reading)))
            .flatten()
    }

    pub(super) fn reading_failed(&self, channel: &Channel, reading: u64, why: Unavailable) {
        self.with_tail(channel, |tail, _| {
            if tail.is_reading(reading) {
                tail.fail(why);
            }
        });
    }

    pub(super) fn ends_at(&self, channel: &Channel, reading: u64, end: Option<Position>) -> Next {
        self.step(channel, reading, |tail, items| tail.ends_at(end, items))
    }

    pub(super) fn page(
        &self,
        channel: &Channel,
        reading: u64,
        page: Vec<Publication>,
        is_end: bool,
    ) -> Next {
        self.step(channel, reading, |tail, items| tail.page(page, is_end, items))
    }

    pub(super) fn release(&self, channel: &Channel, reading: u64) -> Next {
        self.step(channel, reading, Tail::release)
    }

    /// One step of a reading, and what it lets through.
    fn step(
        &self,
        channel: &Channel,
        reading: u64,
        step: impl FnOnce(&mut Tail, &mut Vec<Item>) -> Next,
    ) -> Next {
        let received = Instant::now();
        let mut items = Vec::new();
        let stepped = self.with_tail(channel, |tail, subscribers| {
            if !tail.is_reading(reading) {
                return None;
            }
            if std::mem::replace(&mut tail.telling, true) {
                return Some((Next::Later, None));
            }
            Some((step(tail, &mut items), Some(subscribers.snapshot())))
        });
        let Some((next, subscribers)) = stepped.flatten() else { return Next::Done };
        let Some(subscribers) = subscribers else { return next };
        let delivery = self.rules().of(channel.as_str()).delivery;
        let mut left = items.len();
        for item in items {
            left -= 1;
            let name = channel.as_str();
            match item {
                Item::Gap(reason) => {
                    self.push_to_all(&subscribers, &Push::Gap { channel: name, reason });
                }
                Item::Publication(publication) => {
                    self.hand_out(name, &subscribers, delivery, &publication, left > 0, received);
                }
            }
        }
        self.with_tail(channel, |tail, _| tail.telling = false);
        next
    }

    /// May a client go on from `since`? What it asks for is kept for a while.
    pub(super) fn since(&self, channel: &Channel, since: Position) -> Since {
        let Some(history) = self.rules().of(channel.as_str()).history else { return Since::No };
        let since = self.with_tail(channel, |tail, _| tail.cursor.since(since, history));
        match since.unwrap_or(Since::No) {
            Since::Load(loaded) => {
                self.agenda().add(Work::Load(channel.clone()));
                Since::Read(loaded)
            }
            since => since,
        }
    }

    /// What is to be read for those who resume: from where on, and back to which position.
    pub(super) fn range(&self, channel: &Channel) -> Option<(Position, Position)> {
        self.with_tail(channel, |tail, _| tail.cursor.recent()?.range()).flatten()
    }

    /// What was read of it, newest first.
    pub(super) fn loaded(
        &self,
        channel: &Channel,
        newest_first: Result<Vec<Publication>, Unavailable>,
        is_all: bool,
    ) {
        self.with_tail(channel, |tail, _| match (tail.cursor.recent(), newest_first) {
            (Some(recent), Ok(newest_first)) => recent.loaded(newest_first, is_all),
            (Some(recent), Err(why)) => recent.failed(why),
            (None, _) => {}
        });
    }

    /// Adds a subscriber, which is told first where it comes in and what it has missed. Returns the
    /// subscription's number.
    ///
    /// A long backlog is said before the channel's lock is taken, and only what came meanwhile while
    /// it is held.
    pub(super) fn join(
        &self,
        channel: &Channel,
        subscriber: Subscriber,
        since: Option<Position>,
        say: &mut dyn FnMut(Word<'_>),
    ) -> u64 {
        // Whoever asked for the channel may not have waited for it to flow.
        self.open(channel);
        let mut reached = None;
        if let Some(since) = since
            && let Since::Yes(backlog) = self.since(channel, since)
            && backlog.len() > BACKLOG_LOCKED_MAX
            && let Some(newest) = backlog.last()
        {
            let position = Some(newest.position());
            say(Word::Subscribed { position, recovered: Some(true) });
            say(Word::Backlog(&backlog));
            reached = position;
        }
        self.add_subscriber(channel, subscriber, |tail| {
            let position = tail.as_ref().and_then(|tail| tail.last());
            let from = reached.or(since);
            let rest = tail.zip(from).and_then(|(tail, from)| tail.cursor.after(from));
            match (reached, &rest) {
                (None, _) => {
                    let recovered = since.map(|_| rest.is_some());
                    say(Word::Subscribed { position, recovered });
                }
                (Some(_), None) => say(Word::Gap(LOST)),
                (Some(_), Some(_)) => {}
            }
            say(Word::Backlog(&rest.unwrap_or_default()));
        })
    }

    /// Drops what no client has resumed from for a while.
    pub(super) fn sweep(&self) {
        self.each_tail(|tail| {
            if tail.cursor.recent().is_some_and(|recent| !recent.is_worth_keeping()) {
                tail.cursor.forget_recent();
            }
        });
    }
}
