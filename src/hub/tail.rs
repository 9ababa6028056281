//! How far a channel with history has been delivered on this node, and what waits while the node
//! catches up. Plain data: what arrives goes in, what is to be done comes out.
//!
//! Invariant: what a tail lets through is in order and never twice; where it cannot say that nothing
//! is missing, it says [`Item::Gap`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use super::recent::{Kept, Recent, Since};
use crate::broker::Unavailable;
use crate::publication::{Position, Publication};
use crate::rules::History;

/// Publications that wait while a channel catches up; beyond them they are read again.
const HELD_MAX: usize = 10_000;

/// The same in payload bytes.
const HELD_BYTES_MAX: usize = 4 << 20;

/// What a gap is put down to.
const TRIMMED: &str = "history_trimmed";
pub const LOST: &str = "history_lost";
const CROWDED: &str = "too_many_publications";

/// One channel's standing.
pub struct Tail {
    /// The last position that was let through. None: it has not been opened, or Redis keeps none.
    last: Option<Position>,
    /// Some: the node catches up, and what comes meanwhile waits.
    reading: Option<Reading>,
    /// Somebody is telling subscribers what was let through; what follows waits.
    pub telling: bool,
    /// Tells a reading from one that was begun before it, also of a tail that is gone.
    reading_number: u64,
    opening: Vec<oneshot::Sender<Result<(), Unavailable>>>,
    pub recent: Option<Recent>,
}

#[derive(Default)]
struct Reading {
    /// Has somebody been asked to read?
    begun: bool,
    held: VecDeque<Publication>,
    held_bytes: usize,
    /// What was held was dropped, so that it must be read once more.
    overflown: bool,
    /// What was dropped held publications that stand in no history.
    plain_lost: bool,
    /// Where the history ended when it was asked.
    target: Option<Position>,
    /// The broker was away: what comes now may come after what nobody saw.
    interrupted: bool,
}

/// What is to be done with what arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrived {
    Deliver(Publication),
    /// It was delivered before, or it waits for its turn.
    Nothing,
    /// It waits, and what is missing before it is to be read.
    Read(u64),
}

/// What is to be told to subscribers, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    Publication(Publication),
    Gap(&'static str),
}

/// What comes after a step of a reading.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
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

impl Default for Tail {
    /// Not opened: everything waits.
    fn default() -> Self {
        Self {
            last: None,
            reading: Some(Reading::default()),
            telling: false,
            reading_number: next_reading(),
            opening: Vec::new(),
            recent: None,
        }
    }
}

impl Tail {
    pub fn last(&self) -> Option<Position> {
        self.last
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
        // What was held came before what is missing now, and stands in the history.
        let before = self.reading.take().unwrap_or_default();
        let plain_lost = before.plain_lost || before.held.iter().any(|it| it.position.is_none());
        let interrupted = self.last.is_some();
        self.reading = Some(Reading { begun: true, plain_lost, interrupted, ..Reading::default() });
        self.reading_number
    }

    /// A publication came from the broker.
    pub fn arrive(&mut self, publication: Publication) -> Arrived {
        if let Some(reading) = &mut self.reading {
            reading.hold(publication);
            return Arrived::Nothing;
        }
        let Some(position) = publication.position else { return Arrived::Deliver(publication) };
        match self.last {
            Some(last) if position <= last => Arrived::Nothing,
            Some(last) if !publication.follows(last) => {
                self.reading_number = next_reading();
                let mut reading = Reading { begun: true, ..Reading::default() };
                reading.hold(publication);
                self.reading = Some(reading);
                Arrived::Read(self.reading_number)
            }
            _ => {
                self.pass(&publication);
                Arrived::Deliver(publication)
            }
        }
    }

    /// Is this reading still the one that counts?
    pub fn is_reading(&self, number: u64) -> bool {
        self.reading.is_some() && self.reading_number == number
    }

    /// The history ends here. None: the broker keeps none after all.
    pub fn ends_at(&mut self, end: Option<Position>, gap: &mut Vec<Item>) -> Next {
        let Some(reading) = &mut self.reading else { return Next::Done };
        reading.target = end;
        match (self.last, end) {
            (Some(last), Some(end)) if end > last => Next::Page(last),
            (Some(last), end) if end != Some(last) => {
                // Redis has less than was delivered: it lost some, and what else nobody knows.
                gap.push(Item::Gap(LOST));
                self.restart(end);
                Next::Release
            }
            // Whoever listens already gets what came since the channel flows.
            (None, Some(_)) if reading.held.iter().any(|held| held.position.is_some()) => {
                Next::Release
            }
            _ => {
                self.last = end;
                Next::Release
            }
        }
    }

    /// A page of what follows [`Tail::last`]. `is_end`: nothing follows it.
    pub fn page(&mut self, page: Vec<Publication>, is_end: bool, items: &mut Vec<Item>) -> Next {
        let Some(reading) = &self.reading else { return Next::Done };
        let (target, interrupted) = (reading.target, reading.interrupted);
        let held = reading.held.iter().find(|held| held.position.is_some()).cloned();
        for publication in page {
            let Some(position) = publication.position else { continue };
            if let Some(held) = held.as_ref().filter(|held| Some(position) >= held.position) {
                // From here on all of it is held, what stands in no history in its place.
                if let Some(last) = self.last.filter(|last| !held.follows(*last)) {
                    if interrupted || !begins_anew(held, last) {
                        items.push(Item::Gap(missing(held, last)));
                    }
                    self.restart(None);
                }
                return Next::Release;
            }
            if self.last.is_some_and(|last| position <= last) {
                continue;
            }
            if let Some(last) = self.last.filter(|last| !publication.follows(*last)) {
                items.push(Item::Gap(missing(&publication, last)));
                self.restart(None);
            }
            self.pass(&publication);
            items.push(Item::Publication(publication));
        }
        match self.last {
            Some(last) if !is_end => Next::Page(last),
            last => {
                if target > last {
                    // It was there a moment ago, and is trimmed by now; or another history has begun.
                    let is_same = target.map(|it| it.epoch) == last.map(|it| it.epoch);
                    items.push(Item::Gap(if is_same { TRIMMED } else { LOST }));
                    self.restart(target.filter(|_| held.is_none()));
                }
                Next::Release
            }
        }
    }

    /// Lets go of what was held. [`Next::Release`]: more came meanwhile; [`Next::Done`]: from here
    /// on it is live.
    pub fn release(&mut self, items: &mut Vec<Item>) -> Next {
        let Some(mut reading) = self.reading.take() else { return Next::Done };
        if std::mem::take(&mut reading.plain_lost) {
            items.push(Item::Gap(CROWDED));
        }
        if std::mem::take(&mut reading.overflown) {
            self.reading = Some(reading);
            return self.last.map_or(Next::Release, Next::Page);
        }
        let held = std::mem::take(&mut reading.held);
        reading.held_bytes = 0;
        if held.is_empty() {
            for waiting in self.opening.drain(..) {
                // The session may be gone; then nobody waits.
                let _ = waiting.send(Ok(()));
            }
            return Next::Done;
        }
        let (mut passed, mut told) = (false, false);
        for mut publication in held {
            match (publication.position, self.last) {
                (Some(position), Some(last)) if position <= last => continue,
                (Some(_), Some(last))
                    if !(publication.follows(last)
                        || passed && begins_anew(&publication, last)) =>
                {
                    // The history was read to its end, and this one is not in it: something is
                    // missing before it, or it claims a place that it does not have.
                    if !std::mem::replace(&mut told, true) {
                        items.push(Item::Gap(LOST));
                    }
                    publication.position = None;
                }
                (Some(_), _) => {
                    passed = true;
                    self.pass(&publication);
                }
                (None, _) => {}
            }
            items.push(Item::Publication(publication));
        }
        // What comes from here on follows what was held.
        reading.interrupted = false;
        self.reading = Some(reading);
        Next::Release
    }

    /// It could not be read now: those who wait for it are told.
    pub fn fail(&mut self, why: Unavailable) {
        for waiting in self.opening.drain(..) {
            let _ = waiting.send(Err(why));
        }
    }

    /// May a client go on from `since`? What follows is kept from here on, so that it is there when
    /// the client is added.
    pub fn since(&mut self, since: Position, history: History) -> Since {
        let Some(last) = self.last else { return Since::No };
        if since > last {
            return Since::Ahead;
        }
        let recent = self.recent.get_or_insert_with(|| Recent::new(last, history));
        match recent.after(since) {
            Some(backlog) => Since::Yes(backlog),
            None => recent.load(since),
        }
    }

    /// What follows `since`, up to [`Tail::last`]. None: that is not at hand.
    pub fn after(&mut self, since: Position) -> Option<Vec<Arc<Kept>>> {
        match self.last {
            Some(last) if last == since => Some(Vec::new()),
            _ => self.recent.as_mut()?.after(since),
        }
    }

    /// The publication is the next one.
    fn pass(&mut self, publication: &Publication) {
        if let (Some(last), Some(recent)) = (self.last, &mut self.recent) {
            match publication.follows(last) {
                true => recent.push(publication),
                false => self.recent = None,
            }
        }
        self.last = publication.position;
    }

    /// What was known of the history so far does not lead to here.
    fn restart(&mut self, last: Option<Position>) {
        self.last = last;
        self.recent = None;
    }
}

impl Reading {
    fn hold(&mut self, publication: Publication) {
        self.held_bytes += publication.payload.len();
        self.held.push_back(publication);
        if self.held.len() > HELD_MAX || self.held_bytes > HELD_BYTES_MAX {
            self.plain_lost |= self.held.iter().any(|held| held.position.is_none());
            self.overflown = true;
            self.held = VecDeque::new();
            self.held_bytes = 0;
        }
    }
}

/// Why what stands between `last` and the publication cannot be read: it was trimmed, or it was in a
/// history that is gone.
fn missing(publication: &Publication, last: Position) -> &'static str {
    match publication.position {
        Some(position) if position.epoch == last.epoch => TRIMMED,
        _ => LOST,
    }
}

/// On a connection that held, is it the first of a new history? The old one is gone from Redis;
/// nothing was missed for it.
fn begins_anew(publication: &Publication, last: Position) -> bool {
    publication.previous.is_none()
        && publication.position.is_some_and(|it| it.epoch > last.epoch && it.seq <= 1)
}

#[cfg(test)]
mod tests;
