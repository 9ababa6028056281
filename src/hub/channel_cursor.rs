//! A node's cursor in one channel's history: holds publications back while the node catches up, and decides
//! what the subscribers get. [`DeliveredPositions`] holds the position itself. Plain data: takes what
//! arrives, returns what to do.
//!
//! Invariant: a cursor lets publications through in order and none twice; where it cannot prove that nothing
//! is missing, it emits [`ChannelEvent::Gap`].

mod history_read;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use self::history_read::HistoryRead;
use super::channel_event::{ChannelEvent, LOST, RULES_CHANGED, TOO_MANY_PUBLICATIONS, TRIMMED};
use super::delivered_positions::{DeliveredPositions, PositionOrder};
use crate::broker::Unavailable;
use crate::publication::{Position, Publication};

/// The cursor of one channel.
pub struct ChannelCursor {
    pub positions: DeliveredPositions,
    /// Some: the node is catching up, and holds publications that arrive meanwhile.
    read: Option<HistoryRead>,
    /// Events of this cursor are being delivered to subscribers; further ones must wait.
    pub is_delivering: bool,
    /// Distinguishes a read from earlier ones, also from those of a dropped cursor of the same channel.
    read_number: u64,
    open_waiters: Vec<oneshot::Sender<Result<(), Unavailable>>>,
}

/// What to do with a publication that arrived.
#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart at once, and a box would cost an allocation"
)]
pub enum ArrivalOutcome {
    Deliver(Publication),
    /// It was delivered before, or it is held.
    Nothing,
    /// It is held; the publications missing before it must be read. The number is that of the read.
    Read(u64),
}

/// The next step of a read.
#[derive(Debug, PartialEq, Eq)]
pub enum RecoveryStep {
    /// Read the next page, after this position.
    Page(Position),
    /// Release the held publications.
    Release,
    /// The history has just begun, and its publications may still be on their way here: ask for its end again after a
    /// pause.
    AskAgain,
    /// Events of an earlier step are still being delivered: try again after a pause.
    Later,
    Done,
}

fn next_read_number() -> u64 {
    static READINGS: AtomicU64 = AtomicU64::new(0);
    READINGS.fetch_add(1, Ordering::Relaxed)
}

impl Default for ChannelCursor {
    /// Not yet opened: holds all publications.
    fn default() -> Self {
        Self {
            positions: DeliveredPositions::default(),
            read: Some(HistoryRead::default()),
            is_delivering: false,
            read_number: next_read_number(),
            open_waiters: Vec::new(),
        }
    }
}

impl ChannelCursor {
    /// A cursor for a channel that has subscribers already. `last`: the last position that was delivered to
    /// them.
    pub fn with_subscribers(last: Option<Position>) -> Self {
        let read = Some(HistoryRead { had_subscribers: true, ..HistoryRead::default() });
        Self { positions: DeliveredPositions::at(last), read, ..Self::default() }
    }

    pub fn last(&self) -> Option<Position> {
        self.positions.last()
    }

    pub fn is_live(&self) -> bool {
        self.read.is_none()
    }

    /// Resolves once the cursor is live.
    pub fn wait_open(&mut self) -> oneshot::Receiver<Result<(), Unavailable>> {
        let (waiter, opened) = oneshot::channel();
        self.open_waiters.retain(|waiter| !waiter.is_closed());
        self.open_waiters.push(waiter);
        opened
    }

    /// Starts the first read. If Some, the caller must ask the broker for the history's end.
    pub fn open(&mut self) -> Option<u64> {
        let read = self.read.as_mut().filter(|read| !read.requested)?;
        read.requested = true;
        Some(self.read_number)
    }

    /// Starts a new read after an interruption of the broker, and holds all publications. The caller must ask
    /// the broker for the history's end.
    pub fn interrupt(&mut self) -> u64 {
        self.read_number = next_read_number();
        let has_subscribers = self.is_live();
        let mut before = self.read.take().unwrap_or_default();
        // Held publications with a position precede those missing now, and are read from the history again.
        before.held.retain(|held| held.position.is_none());
        let had_subscribers = before.had_subscribers || has_subscribers && self.last().is_none();
        self.read = Some(HistoryRead {
            requested: true,
            held_bytes: before.held.iter().map(|held| held.payload.len()).sum(),
            held: before.held,
            unpositioned_lost: before.unpositioned_lost,
            interrupted: had_subscribers || self.last().is_some(),
            had_subscribers,
            ..HistoryRead::default()
        });
        self.read_number
    }

    /// Takes a publication from the broker.
    pub fn receive(&mut self, publication: Publication) -> ArrivalOutcome {
        if let Some(read) = &mut self.read {
            read.hold(publication);
            return ArrivalOutcome::Nothing;
        }
        match self.positions.order_of(&publication) {
            PositionOrder::Unpositioned => {
                ArrivalOutcome::Deliver(self.positions.pass_unpositioned(publication))
            }
            PositionOrder::Behind => ArrivalOutcome::Nothing,
            PositionOrder::Next if self.positions.advance(&publication) => {
                ArrivalOutcome::Deliver(publication)
            }
            PositionOrder::Next => ArrivalOutcome::Nothing,
            PositionOrder::Ahead => {
                self.read_number = next_read_number();
                let mut read = HistoryRead { requested: true, ..HistoryRead::default() };
                read.hold(publication);
                self.read = Some(read);
                ArrivalOutcome::Read(self.read_number)
            }
        }
    }

    /// Whether this read is the current one.
    pub fn is_current_read(&self, number: u64) -> bool {
        self.read.is_some() && self.read_number == number
    }

    /// Takes the position at which the history ends. None: the broker keeps no history of the channel.
    pub fn receive_end(
        &mut self,
        end: Option<Position>,
        events: &mut Vec<ChannelEvent>,
    ) -> RecoveryStep {
        let Some(read) = &mut self.read else { return RecoveryStep::Done };
        read.target = end;
        if read.interrupted && self.positions.end_fresh() {
            events.push(ChannelEvent::Gap(RULES_CHANGED));
        }
        match (self.positions.last(), end) {
            (Some(last), Some(end)) if end > last => return RecoveryStep::Page(last),
            (Some(last), end) if end == Some(last) => {}
            (Some(_), end) => {
                if end.is_none() {
                    read.had_subscribers = true;
                    // Redis keeps no history any more, so no client can resume from their positions.
                    read.held.iter_mut().for_each(|held| held.position = None);
                }
                self.positions.fall_back(end, events);
            }
            // Existing subscribers get all publications since the broker confirmed the subscription.
            (None, Some(_)) if read.holds_unbroken() => {}
            (None, end) if read.may_start_fresh(end) => self.positions.start_fresh(end),
            (None, Some(_)) if read.waits_for_first() => return RecoveryStep::AskAgain,
            (None, end) => {
                // Subscribers may miss publications in transit, and those before the cursor held any.
                events.extend(read.had_subscribers.then_some(ChannelEvent::Gap(RULES_CHANGED)));
                self.positions.restart(end);
            }
        }
        RecoveryStep::Release
    }

    /// Takes a page of what follows [`ChannelCursor::last`]. `is_end`: it is the last page.
    pub fn receive_page(
        &mut self,
        page: Vec<Publication>,
        is_end: bool,
        events: &mut Vec<ChannelEvent>,
    ) -> RecoveryStep {
        if self.starts_fresh(page.first()) {
            return RecoveryStep::Release;
        }
        let Some(read) = &self.read else { return RecoveryStep::Done };
        let (target, held_on) = (read.target, !read.interrupted);
        let last = self.last();
        let is_ahead = |held: &&Publication| held.position.is_some() && held.position > last;
        let held = read.held.iter().find(is_ahead).cloned();
        for publication in page {
            if let Some(held) = held.as_ref().filter(|it| publication.position >= it.position) {
                // From this position on all publications are held, those without a position in their order.
                if self.positions.order_of(held) == PositionOrder::Ahead {
                    events.extend(self.gap_before(held, held_on).map(ChannelEvent::Gap));
                    self.positions.restart(before(held));
                }
                return RecoveryStep::Release;
            }
            let is_new = match self.positions.order_of(&publication) {
                PositionOrder::Unpositioned | PositionOrder::Behind => false,
                PositionOrder::Next => self.positions.advance(&publication),
                PositionOrder::Ahead => {
                    let gap = self.gap_before(&publication, false);
                    self.positions.jump(&publication, gap, events)
                }
            };
            if is_new {
                events.push(ChannelEvent::Publication(publication));
            }
        }
        match self.last() {
            Some(last) if !is_end => return RecoveryStep::Page(last),
            last if target > last
                && read.may_start_fresh(target)
                && held.as_ref().is_none_or(|it| target.is_some_and(|end| it.follows(end))) =>
            {
                self.positions.start_fresh(target);
            }
            last if target > last => {
                // The end was read a moment ago: its publications have been trimmed since, or another history
                // has begun.
                let is_same = target.map(|it| it.epoch) == last.map(|it| it.epoch);
                events.push(ChannelEvent::Gap(if is_same { TRIMMED } else { LOST }));
                self.positions.restart(held.as_ref().map_or(target, before));
            }
            _ => {}
        }
        RecoveryStep::Release
    }

    /// Whether the history begins anew with this first publication of a page, for subscribers who got everything
    /// directly. It arrives after what the old rules kept in no history, or is held.
    fn starts_fresh(&mut self, first: Option<&Publication>) -> bool {
        let (Some(read), Some(first)) = (&mut self.read, first) else { return false };
        let has_missed_nothing = read.has_missed_nothing();
        read.has_delivered = true;
        let starts = has_missed_nothing
            && self.last().is_some_and(|last| is_first_of_later_epoch(first, last));
        if starts {
            self.positions.start_fresh(before(first));
        }
        starts
    }

    /// The gap reason before a publication that does not follow the last position, if any. `held_on`: the
    /// broker's connection was not interrupted between the two.
    fn gap_before(&self, publication: &Publication, held_on: bool) -> Option<&'static str> {
        let last = self.last()?;
        (!(held_on && begins_new_history(publication, last))).then(|| gap_reason(publication, last))
    }

    /// Delivers the held publications. [`RecoveryStep::Release`]: more have arrived meanwhile;
    /// [`RecoveryStep::Done`]: the cursor is live.
    pub fn release(&mut self, events: &mut Vec<ChannelEvent>) -> RecoveryStep {
        let Some(mut read) = self.read.take() else { return RecoveryStep::Done };
        let unpositioned_lost = std::mem::take(&mut read.unpositioned_lost);
        events.extend(unpositioned_lost.then_some(ChannelEvent::Gap(TOO_MANY_PUBLICATIONS)));
        if std::mem::take(&mut read.overflowed) {
            events.extend(self.positions.end_fresh().then_some(ChannelEvent::Gap(RULES_CHANGED)));
            self.read = Some(read);
            return self.last().map_or(RecoveryStep::Release, RecoveryStep::Page);
        }
        let held = std::mem::take(&mut read.held);
        read.held_bytes = 0;
        if held.is_empty() && !unpositioned_lost {
            for waiter in self.open_waiters.drain(..) {
                // The waiting session may be gone.
                let _ = waiter.send(Ok(()));
            }
            return RecoveryStep::Done;
        }
        // What arrives from here on follows the held publications.
        (read.interrupted, read.had_subscribers) = (false, false);
        self.deliver_held(held, read, events)
    }

    fn deliver_held(
        &mut self,
        mut held: VecDeque<Publication>,
        mut read: HistoryRead,
        events: &mut Vec<ChannelEvent>,
    ) -> RecoveryStep {
        let mut next = RecoveryStep::Release;
        let mut gap_sent = false;
        while let Some(publication) = held.pop_front() {
            match self.positions.order_of(&publication) {
                PositionOrder::Unpositioned => {
                    events.push(ChannelEvent::Publication(
                        self.positions.pass_unpositioned(publication),
                    ));
                }
                PositionOrder::Behind => {}
                PositionOrder::Next => {
                    read.advanced = true;
                    let is_new = self.positions.advance(&publication);
                    events.extend(is_new.then_some(ChannelEvent::Publication(publication)));
                }
                PositionOrder::Ahead if !read.advanced => {
                    // The history was read to its end and does not contain this publication: something is
                    // missing before it, or its position is wrong.
                    if let Some(publication) = self.positions.pass_unknown(publication) {
                        let gap = (!std::mem::replace(&mut gap_sent, true))
                            .then_some(ChannelEvent::Gap(LOST));
                        events.extend(
                            gap.into_iter().chain([ChannelEvent::Publication(publication)]),
                        );
                    }
                }
                PositionOrder::Ahead if self.gap_before(&publication, true).is_none() => {
                    let is_new = self.positions.jump(&publication, None, events);
                    events.extend(is_new.then_some(ChannelEvent::Publication(publication)));
                }
                PositionOrder::Ahead => {
                    // The history was read up to the first held publication. It may be longer by now.
                    held.push_front(publication);
                    read.advanced = false;
                    next = self.last().map_or(RecoveryStep::Release, RecoveryStep::Page);
                    break;
                }
            }
        }
        read.held_bytes = held.iter().map(|held| held.payload.len()).sum();
        read.held = held;
        self.read = Some(read);
        next
    }

    /// Fails the waiting sessions, because the history could not be read.
    pub fn fail_waiters(&mut self, why: Unavailable) {
        for waiter in self.open_waiters.drain(..) {
            let _ = waiter.send(Err(why));
        }
    }
}

/// Why the publications between `last` and this one cannot be read: they were trimmed, or their history no
/// longer exists.
fn gap_reason(publication: &Publication, last: Position) -> &'static str {
    match publication.position {
        _ if publication.rules_changed => RULES_CHANGED,
        Some(position) if position.epoch == last.epoch => TRIMMED,
        _ => LOST,
    }
}

/// The position before the publication's, whether or not it was used.
fn before(publication: &Publication) -> Option<Position> {
    let Position { epoch, seq } = publication.position?;
    Some(Position { epoch, seq: seq.checked_sub(1)? })
}

/// Whether the publication, received on an uninterrupted connection, is the first of a new history. The old
/// history was deleted in Redis, and nothing is missing. Not if other rules began the new history: then
/// something may be missing.
fn begins_new_history(publication: &Publication, last: Position) -> bool {
    !publication.rules_changed && is_first_of_later_epoch(publication, last)
}

/// Whether the publication is the first of its epoch, which is later than that of `last` and does not
/// continue it.
fn is_first_of_later_epoch(publication: &Publication, last: Position) -> bool {
    publication.previous.is_none()
        && publication.position.is_some_and(|it| it.epoch > last.epoch && it.seq == 1)
}

#[cfg(test)]
mod tests;
