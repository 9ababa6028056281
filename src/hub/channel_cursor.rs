//! What waits while the node catches up with a channel's history, and what of it goes to the subscribers.
//! How far that has come is the [`DeliveredPositions`]'s. Plain data: what arrives goes in, what is to be done comes out.
//!
//! Invariant: what a tail lets through is in order and never twice; where it cannot say that nothing
//! is missing, it says [`ChannelEvent::Gap`].

mod reading;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use self::reading::HistoryRead;
use super::channel_event::{CROWDED, ChannelEvent, LOST, RULES_CHANGED, TRIMMED};
use super::delivered_positions::{DeliveredPositions, PositionOrder};
use crate::broker::Unavailable;
use crate::publication::{Position, Publication};

/// One channel's standing.
pub struct ChannelCursor {
    pub cursor: DeliveredPositions,
    /// Some: the node catches up, and what comes meanwhile waits.
    reading: Option<HistoryRead>,
    /// Somebody is telling subscribers what was let through; what follows waits.
    pub telling: bool,
    /// Tells a reading from one that was begun before it, also of a tail that is gone.
    reading_number: u64,
    opening: Vec<oneshot::Sender<Result<(), Unavailable>>>,
}

/// What is to be done with what arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum ArrivalOutcome {
    Deliver(Publication),
    /// It was delivered before, or it waits for its turn.
    Nothing,
    /// It waits, and what is missing before it is to be read.
    Read(u64),
}

/// What comes after a step of a reading.
#[derive(Debug, PartialEq, Eq)]
pub enum RecoveryStep {
    /// The next page, after this position.
    Page(Position),
    /// What was held may go, step by step.
    Release,
    /// Another step of this channel is still being told: try again in a moment.
    Later,
    Done,
}

fn next_reading() -> u64 {
    static READINGS: AtomicU64 = AtomicU64::new(0);
    READINGS.fetch_add(1, Ordering::Relaxed)
}

impl Default for ChannelCursor {
    /// Not opened: everything waits.
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
    /// For a channel that has subscribers already. `seen`: the last position that they got.
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

    /// Resolves once it is live.
    pub fn opened(&mut self) -> oneshot::Receiver<Result<(), Unavailable>> {
        let (waiting, opened) = oneshot::channel();
        self.opening.retain(|waiting| !waiting.is_closed());
        self.opening.push(waiting);
        opened
    }

    /// Somebody wants it open. Some: whoever calls must ask where the history ends.
    pub fn open(&mut self) -> Option<u64> {
        let reading = self.reading.as_mut().filter(|reading| !reading.begun)?;
        reading.begun = true;
        Some(self.reading_number)
    }

    /// The broker was away: from here on everything waits. Whoever calls must ask where the history
    /// ends.
    pub fn interrupt(&mut self) -> u64 {
        self.reading_number = next_reading();
        let has_subscribers = self.is_live();
        let mut before = self.reading.take().unwrap_or_default();
        // What else was held came before what is missing now, and is read from the history.
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

    /// A publication came from the broker.
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

    /// Is this reading still the one that counts?
    pub fn is_reading(&self, number: u64) -> bool {
        self.reading.is_some() && self.reading_number == number
    }

    /// The history ends here. None: the broker keeps none after all.
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
                    // Redis keeps no history any more: no client can resume from their positions.
                    reading.held.iter_mut().for_each(|held| held.position = None);
                }
                self.cursor.fall_back(end, items);
            }
            // Subscribers that are there already get what came since the channel flows.
            (None, Some(_)) if reading.holds_unbroken() => {}
            (None, end) if reading.may_start_fresh(end) => self.cursor.start_fresh(end),
            (None, end) => {
                // Subscribers may miss what is on its way, and what came before the channel was held.
                items.extend(reading.late.then_some(ChannelEvent::Gap(RULES_CHANGED)));
                self.cursor.restart(end);
            }
        }
        RecoveryStep::Release
    }

    /// A page of what follows [`ChannelCursor::last`]. `is_end`: nothing follows it.
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
                // From here on all of it is held, what stands in no history in its place.
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
                // It was there a moment ago, and is trimmed by now; or another history has begun.
                let is_same = target.map(|it| it.epoch) == last.map(|it| it.epoch);
                items.push(ChannelEvent::Gap(if is_same { TRIMMED } else { LOST }));
                self.cursor.restart(held.as_ref().map_or(target, before));
            }
            _ => {}
        }
        RecoveryStep::Release
    }

    /// What subscribers are told before a publication that nothing leads to. `held_on`: the connection
    /// that brought what came before it brought this one too.
    fn gap_before(&self, publication: &Publication, held_on: bool) -> Option<&'static str> {
        let last = self.last()?;
        (!(held_on && begins_anew(publication, last))).then(|| missing(publication, last))
    }

    /// Lets go of what was held. [`RecoveryStep::Release`]: more came meanwhile; [`RecoveryStep::Done`]: from here
    /// on it is live.
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
                // The session may be gone; then nobody waits.
                let _ = waiting.send(Ok(()));
            }
            return RecoveryStep::Done;
        }
        // What comes from here on follows what was held.
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
                    // The history was read to its end, and this one is not in it: something is
                    // missing before it, or it claims a place that it does not have.
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
                    // The history was read up to what was held first. It may have more by now.
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

    /// It could not be read now: those who wait for it are told.
    pub fn fail(&mut self, why: Unavailable) {
        for waiting in self.opening.drain(..) {
            let _ = waiting.send(Err(why));
        }
    }
}

/// Why what stands between `last` and the publication cannot be read: it was trimmed, or it was in a
/// history that is gone.
fn missing(publication: &Publication, last: Position) -> &'static str {
    match publication.position {
        _ if publication.rules_changed => RULES_CHANGED,
        Some(position) if position.epoch == last.epoch => TRIMMED,
        _ => LOST,
    }
}

/// The position that leads to the publication, whatever stood there.
fn before(publication: &Publication) -> Option<Position> {
    let Position { epoch, seq } = publication.position?;
    Some(Position { epoch, seq: seq.checked_sub(1)? })
}

/// On a connection that held, is it the first of a new history? The old one is gone from Redis;
/// nothing was missed for it. Where other rules began it, that is not sure.
fn begins_anew(publication: &Publication, last: Position) -> bool {
    publication.previous.is_none()
        && !publication.rules_changed
        && publication.position.is_some_and(|it| it.epoch > last.epoch && it.seq <= 1)
}

#[cfg(test)]
mod tests;
