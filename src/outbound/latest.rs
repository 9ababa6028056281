//! What a slow consumer gets of channels whose rule says `delivery = "latest"`: the newest
//! publication of each, when its socket has room again. What it replaces is skipped.
//!
//! Only back-pressure makes anything wait here. Till then these publications stand in the queue like
//! any other, so that whoever keeps up gets them all.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::{Batch, Outbound, Pushed, State, Writer, cost};

/// Bytes, overhead included, from which on the connection takes no further frame that waits here: one
/// that it has taken can no longer be replaced.
const PORTION_BYTES: usize = 64 << 10;

/// What came of a push to a `latest` channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "unflushed, the frame waits for the next one; a skipped one is to be counted"]
pub struct Latest {
    pub pushed: Pushed,
    /// It took the place of an older one, which is never sent.
    pub skipped: bool,
}

impl Outbound {
    /// Queues a publication of a `latest` channel. Never waits, is never refused, and makes the queue
    /// full for nobody else. After [`Outbound::close`] it is dropped.
    ///
    /// `key`: the subscription's number; once it has ended, the frame is dropped. While the socket is under back-pressure, the frame waits
    /// beside the queue and replaces the one of its key there. The same where the connection has
    /// `bytes_max` to write already, because memory must be bounded. What is in line for a flusher
    /// bounds itself.
    pub fn push_latest(&self, key: u64, frame: Bytes) -> Latest {
        let mut state = self.lock();
        if !state.subscriptions.contains(key) {
            return Latest { pushed: Pushed::Ended, skipped: false };
        }
        if state.closing().is_some() {
            return Latest { pushed: Pushed::Covered, skipped: false };
        }
        if state.must_wait(self.bytes_max) {
            let skipped = state.newest.get_or_insert_default().put(key, frame);
            return Latest { pushed: Pushed::Covered, skipped };
        }
        state.newest.get_or_insert_default().queued += cost(&frame);
        // Unbounded it cannot fail.
        let _ = state.queue(frame, usize::MAX);
        Latest { pushed: self.find_writer(&mut state), skipped: false }
    }
}

impl State {
    /// What the session says itself is not overtaken: it may be the answer that comes before a
    /// channel's first publication.
    pub(super) fn queue_first(&mut self) {
        if let Some(newest) = &mut self.newest {
            newest.turn = false;
        }
    }

    /// Only what the connection writes ever waits beside the queue: no flusher looks there. While
    /// something does, all of its kind must, or an older one might overtake it.
    fn must_wait(&self, bytes_max: usize) -> bool {
        let others_wait = || self.newest.as_ref().is_some_and(|it| !it.waiting.is_empty());
        self.writer == Writer::Connection
            && (self.refused || self.bytes >= bytes_max || others_wait())
    }

    /// Moves some of what waits beside the queue into the empty `batch`, if it is its turn.
    pub(super) fn hand_over_newest(&mut self, batch: &mut Batch) -> bool {
        match &mut self.newest {
            Some(newest) if newest.turn || self.frames.is_empty() => {
                self.bytes += newest.take_portion(&mut batch.frames);
                !batch.frames.is_empty()
            }
            _ => false,
        }
    }

    /// Of the bytes that wait, those that are bounded by `bytes_max`.
    pub(super) fn bytes_bounded(&self) -> usize {
        let beyond = self.newest.as_ref().map_or(0, |newest| newest.queued + newest.taken);
        self.bytes.saturating_sub(beyond)
    }
}

/// The newest publication of each key that waits for room: one for each subscription at most. And how
/// much of the queue is of such channels, which must not make it full.
#[derive(Default)]
pub(super) struct Newest {
    waiting: BTreeMap<u64, Bytes>,
    /// Cost of `waiting`.
    bytes: usize,
    /// The queue as it was when the first came to wait is out; from then on the two take turns.
    turn: bool,
    /// Where the next portion begins, so that each key gets its turn.
    next: u64,
    /// Cost of such frames in the queue.
    queued: usize,
    /// Cost of such frames in what the writer has taken.
    taken: usize,
}

impl Newest {
    /// Cost of what waits beside the queue.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// True: it replaced an older one.
    fn put(&mut self, key: u64, frame: Bytes) -> bool {
        self.turn &= !self.waiting.is_empty();
        let replaced = self.remove(key);
        self.bytes += cost(&frame);
        self.waiting.insert(key, frame);
        replaced
    }

    pub fn remove(&mut self, key: u64) -> bool {
        let removed = self.waiting.remove(&key);
        self.bytes -= removed.as_ref().map_or(0, cost);
        removed.is_some()
    }

    /// Moves frames to the empty `frames`; returns their cost.
    fn take_portion(&mut self, frames: &mut VecDeque<Bytes>) -> usize {
        self.turn = false;
        self.taken = 0;
        while self.taken < PORTION_BYTES
            && let Some((key, frame)) = self.take_next()
        {
            self.next = key.wrapping_add(1);
            self.taken += cost(&frame);
            frames.push_back(frame);
        }
        self.bytes -= self.taken;
        self.taken
    }

    fn take_next(&mut self) -> Option<(u64, Bytes)> {
        let key = match self.waiting.range(self.next..).next() {
            Some((key, _)) => *key,
            None => *self.waiting.keys().next()?,
        };
        self.waiting.remove_entry(&key)
    }

    /// A writer has taken all of the queue, and has nothing else.
    pub fn queue_handed_over(&mut self) {
        self.taken = std::mem::take(&mut self.queued);
        self.turn = !self.waiting.is_empty();
    }

    /// A flusher put back what the socket did not take; of `bytes_queued`, nobody knows exactly how
    /// much is of such channels.
    pub fn queue_taken_back(&mut self, bytes_queued: usize) {
        self.queued = (self.queued + std::mem::take(&mut self.taken)).min(bytes_queued);
    }
}
