//! What a slow consumer gets of channels whose rule says `delivery = "latest"`: the newest
//! publication of each, when its socket has room again. What it replaces is skipped.
//!
//! Only back-pressure makes anything wait here. Till then these publications stand in the queue like
//! any other, so that a subscriber that keeps up gets them all.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::frames::cost;

/// Bytes, overhead included, from which on the connection takes no further frame that waits here: one
/// that it has taken can no longer be replaced.
const PORTION_BYTES: usize = 64 << 10;

/// The newest publication of each key that waits for room: one for each subscription at most. And how
/// much of the queue is of such channels, which must not make it full.
#[derive(Default)]
pub struct LatestFrames {
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

impl LatestFrames {
    /// Cost of what waits beside the queue.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Of the bytes that were queued and are not yet written, those that the bound is not for.
    pub fn uncounted_bytes(&self) -> usize {
        self.queued + self.taken
    }

    /// Is it the turn of what waits, also where the queue holds something?
    pub fn has_turn(&self) -> bool {
        self.turn
    }

    pub fn give_up_turn(&mut self) {
        self.turn = false;
    }

    /// A frame of so much cost goes into the queue.
    pub fn queue(&mut self, cost: usize) {
        self.queued += cost;
    }

    /// True: it replaced an older one.
    pub fn put(&mut self, key: u64, frame: Bytes) -> bool {
        self.turn &= self.waits();
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
    pub fn take_portion(&mut self, frames: &mut VecDeque<Bytes>) -> usize {
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
        self.turn = self.waits();
    }

    /// A flusher put back what the socket did not take; how much of `bytes_queued` is of such channels is not
    /// known exactly.
    pub fn queue_taken_back(&mut self, bytes_queued: usize) {
        self.queued = (self.queued + std::mem::take(&mut self.taken)).min(bytes_queued);
    }
}
