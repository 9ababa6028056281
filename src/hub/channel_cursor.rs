//! A node's cursor in one channel's history: holds publications back while the node catches up, and decides
//! what the subscribers get. [`DeliveredPositions`] holds the position itself. Plain data: takes what
//! arrives, returns what to do.
//!
//! Invariant: a cursor lets publications through in order and none twice; where it cannot prove that nothing
//! is missing, it emits [`ChannelEvent::Gap`].

mod reading;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use self::reading::HistoryRead;
use super::channel_event::{CROWDED, ChannelEvent, LOST, RULES_CHANGED, TRIMMED};
use super::delivered_positions::{DeliveredPositions, PositionOrder};
use crate::broker::Unavailable;
use crate::publication::{Position, Publication};

/// The cursor of one channel.
pub struct ChannelCursor {
    pub cursor: DeliveredPositions,
    /// Some: the node is catching up, and holds publications that arrive meanwhile.
    reading: Option<HistoryRead>,
    /// Events of this cursor are being delivered to subscribers; further ones must wait.
    pub telling: bool,
    /// Distinguishes a read from earlier ones, also from those of a dropped cursor of the same channel.
    reading_number: u64,
    opening: Vec<oneshot::Sender<Result<(), Unavailable>>>,
}

/// What to do with a publication that arrived.
#[derive(Debug, PartialEq, Eq)]
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
    /// Events of an earlier step are still being delivered: try again after a pause.
    Later,
    Done,
}

fn next_reading() -> u64 {
    static READINGS: AtomicU64 = AtomicU64::new(0);
    READINGS.fetch_add(1, Ordering::Relaxed)
}

impl Default for ChannelCursor {
    /// Not yet opened: holds all publications.
    fn default() -> Self {
        Self {
            cursor: DeliveredPositions::default(),
            reading: Some(HistoryRead::default()),
            telling: false,
            reading_number: next_reading(),
            opening: Vec::new(),
        }
    }
}

impl ChannelCursor {
    /// A cursor for a channel that has subscribers already. `seen`: the last position that was delivered to
    /// them.
    pub fn late(seen: Option<Position>) -> Self {
        let reading = Some(HistoryRead { late: true, ..HistoryRead::default() });
        Self { cursor: DeliveredPositions::at(seen), reading, ..Self::default() }
    }

    pub fn last(&self) -> Option<Position> {
        self.cursor.last()
    }

    pub fn is_live(&self) -> bool {
        self.reading.is_none()
    }

    /// Resolves once the cursor is live.
    pub fn opened(&mut self) -> oneshot::Receiver<Result<(), Unavailable>> {
        let (waiting, opened) = oneshot::channel();
        self.opening.retain(|waiting| !waiting.is_closed());
        self.opening.push(waiting);
        opened
    }

    /// Starts the first read. If Some, the caller must ask the broker for the history's end.
    pub fn open(&mut self) -> Option<u64> {
        let reading = self.reading.as_mut().filter(|reading| !reading.begun)?;
        reading.begun = true;
        Some(self.reading_number)
    }

    /// Starts a new read after an interruption of the broker, and holds all publications. The caller must ask
    /// the broker for the history's end.
    pub fn interrupt(&mut self) -> u64 {
        self.reading_number = next_reading();
        let has_subscribers = self.is_live();
        let mut before = self.reading.take().unwrap_or_default();
        // Held publications with a position precede those missing now, and are read from the history again.
        before.held.retain(|held| held.position.is_none());
        let late = before.late || has_subscribers && self.last().is_none();
        self.reading = Some(HistoryRead {
            begun: true,
            held_bytes: before.held.iter().map(|held| held.payload.len()).sum(),
            held: before.held,
            plain_lost: before.plain_lost,
            interrupted: late || self.last().is_some(),
            late,
            ..HistoryRead::default()
        });
        self.reading_number
    }

    /// Takes a publication from the broker.
    pub fn arrive(&mut self, publication: Publication) -> ArrivalOutcome {
        if let Some(reading) = &mut self.reading {
            reading.hold(publication);
            return ArrivalOutcome::Nothing;
        }
        match self.cursor.place_of(&publication) {
            PositionOrder::Nowhere => ArrivalOutcome::Deliver(self.cursor.pass_by(publication)),
            PositionOrder::Behind => ArrivalOutcome::Nothing,
            PositionOrder::Next if self.cursor.advance(&publication) => {
                ArrivalOutcome::Deliver(publication)
            }
            PositionOrder::Next => ArrivalOutcome::Nothing,
            PositionOrder::Beyond => {
                self.reading_number = next_reading();
                let mut reading = HistoryRead { begun: true, ..HistoryRead::default() };
                reading.hold(publication);
                self.reading = Some(reading);
                ArrivalOutcome::Read(self.reading_number)
            }
        }
    }

    /// Whether this read is the current one.
    pub fn is_reading(&self, number: u64) -> bool {
        self.reading.is_some() && self.reading_number == number
    }

    /// Takes the position at which the history ends. None: the broker keeps no history of the channel.
    pub fn ends_at(
        &mut self,
        end: Option<Position>,
        items: &mut Vec<ChannelEvent>,
    ) -> RecoveryStep {
        let Some(reading) = &mut self.reading else { return RecoveryStep::Done };
        reading.target = end;
        if reading.interrupted && self.cursor.end_fresh() {
            items.push(ChannelEvent::Gap(RULES_CHANGED));
        }
        match (self.cursor.last(), end) {
            (Some(last), Some(end)) if end > last => return RecoveryStep::Page(last),
            (Some(last), end) if end == Some(last) => {}
            (Some(_), end) => {
                if end.is_none() {
                    reading.late = true;
                    // Redis keeps no history any more, so no client can resume from their positions.
                    reading.held.iter_mut().for_each(|held| held.position = None);
                }
                self.cursor.fall_back(end, items);
            }
            // Existing subscribers get all publications since the broker confirmed the subscription.
            (None, Some(_)) if reading.holds_unbroken() => {}
            (None, end) if reading.may_start_fresh(end) => self.cursor.start_fresh(end),
            (None, end) => {
                // Subscribers may miss publications in transit, and those before the cursor held any.
                items.extend(reading.late.then_some(ChannelEvent::Gap(RULES_CHANGED)));
                self.cursor.restart(end);
            }
        }
        RecoveryStep::Release
    }

    /// Takes a page of what follows [`ChannelCursor::last`]. `is_end`: it is the last page.
    pub fn page(
        &mut self,
        page: Vec<Publication>,
        is_end: bool,
        items: &mut Vec<ChannelEvent>,
    ) -> RecoveryStep {
        let Some(reading) = &self.reading else { return RecoveryStep::Done };
        let (target, held_on) = (reading.target, !reading.interrupted);
        let last = self.last();
        let is_ahead = |held: &&Publication| held.position.is_some() && held.position > last;
        let held = reading.held.iter().find(is_ahead).cloned();
        for publication in page {
            if let Some(held) = held.as_ref().filter(|it| publication.position >= it.position) {
                // From this position on all publications are held, those without a position in their order.
                if self.cursor.place_of(held) == PositionOrder::Beyond {
                    items.extend(self.gap_before(held, held_on).map(ChannelEvent::Gap));
                    self.cursor.restart(before(held));
                }
                return RecoveryStep::Release;
            }
            let is_new = match self.cursor.place_of(&publication) {
                PositionOrder::Nowhere | PositionOrder::Behind => false,
                PositionOrder::Next => self.cursor.advance(&publication),
                PositionOrder::Beyond => {
                    let gap = self.gap_before(&publication, false);
                    self.cursor.jump(&publication, gap, items)
                }
            };
            if is_new {
                items.push(ChannelEvent::Publication(publication));
            }
        }
        match self.last() {
            Some(last) if !is_end => return RecoveryStep::Page(last),
            last if target > last && held.is_none() && reading.may_start_fresh(target) => {
                self.cursor.start_fresh(target);
            }
            last if target > last => {
                // The end was read a moment ago: its publications have been trimmed since, or another history
                // has begun.
                let is_same = target.map(|it| it.epoch) == last.map(|it| it.epoch);
                items.push(ChannelEvent::Gap(if is_same { TRIMMED } else { LOST }));
                self.cursor.restart(held.as_ref().map_or(target, before));
            }
            _ => {}
        }
        RecoveryStep::Release
    }

    /// The gap reason before a publication that does not follow the last position, if any. `held_on`: the
    /// broker's connection was not interrupted between the two.
    fn gap_before(&self, publication: &Publication, held_on: bool) -> Option<&'static str> {
        let last = self.last()?;
        (!(held_on && begins_anew(publication, last))).then(|| missing(publication, last))
    }

    /// Delivers the held publications. [`RecoveryStep::Release`]: more have arrived meanwhile;
    /// [`RecoveryStep::Done`]: the cursor is live.
    pub fn release(&mut self, items: &mut Vec<ChannelEvent>) -> RecoveryStep {
        let Some(mut reading) = self.reading.take() else { return RecoveryStep::Done };
        let plain_lost = std::mem::take(&mut reading.plain_lost);
        items.extend(plain_lost.then_some(ChannelEvent::Gap(CROWDED)));
        if std::mem::take(&mut reading.overflown) {
            items.extend(self.cursor.end_fresh().then_some(ChannelEvent::Gap(RULES_CHANGED)));
            self.reading = Some(reading);
            return self.last().map_or(RecoveryStep::Release, RecoveryStep::Page);
        }
        let held = std::mem::take(&mut reading.held);
        reading.held_bytes = 0;
        if held.is_empty() && !plain_lost {
            for waiting in self.opening.drain(..) {
                // The waiting session may be gone.
                let _ = waiting.send(Ok(()));
            }
            return RecoveryStep::Done;
        }
        // What arrives from here on follows the held publications.
        (reading.interrupted, reading.late) = (false, false);
        self.let_go(held, reading, items)
    }

    fn let_go(
        &mut self,
        mut held: VecDeque<Publication>,
        mut reading: HistoryRead,
        items: &mut Vec<ChannelEvent>,
    ) -> RecoveryStep {
        let mut next = RecoveryStep::Release;
        let mut told = false;
        while let Some(publication) = held.pop_front() {
            match self.cursor.place_of(&publication) {
                PositionOrder::Nowhere => {
                    items.push(ChannelEvent::Publication(self.cursor.pass_by(publication)));
                }
                PositionOrder::Behind => {}
                PositionOrder::Next => {
                    reading.advanced = true;
                    let is_new = self.cursor.advance(&publication);
                    items.extend(is_new.then_some(ChannelEvent::Publication(publication)));
                }
                PositionOrder::Beyond if !reading.advanced => {
                    // The history was read to its end and does not contain this publication: something is
                    // missing before it, or its position is wrong.
                    if let Some(publication) = self.cursor.pass_aside(publication) {
                        let gap = (!std::mem::replace(&mut told, true))
                            .then_some(ChannelEvent::Gap(LOST));
                        items.extend(
                            gap.into_iter().chain([ChannelEvent::Publication(publication)]),
                        );
                    }
                }
                PositionOrder::Beyond if self.gap_before(&publication, true).is_none() => {
                    let is_new = self.cursor.jump(&publication, None, items);
                    items.extend(is_new.then_some(ChannelEvent::Publication(publication)));
                }
                PositionOrder::Beyond => {
                    // The history was read up to the first held publication. It may be longer by now.
                    held.push_front(publication);
                    reading.advanced = false;
                    next = self.last().map_or(RecoveryStep::Release, RecoveryStep::Page);
                    break;
                }
            }
        }
        reading.held_bytes = held.iter().map(|held| held.payload.len()).sum();
        reading.held = held;
        self.reading = Some(reading);
        next
    }

    /// Fails the waiting sessions, because the history could not be read.
    pub fn fail(&mut self, why: Unavailable) {
        for waiting in self.opening.drain(..) {
            let _ = waiting.send(Err(why));
        }
    }
}

/// Why the publications between `last` and this one cannot be read: they were trimmed, or their history no
/// longer exists.
fn missing(publication: &Publication, last: Position) -> &'static str {
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
fn begins_anew(publication: &Publication, last: Position) -> bool {
    publication.previous.is_none()
        && !publication.rules_changed
        && publication.position.is_some_and(|it| it.epoch > last.epoch && it.seq <= 1)
}

#[cfg(test)]
mod tests;
