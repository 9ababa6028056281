//! The frames of channels with `delivery = "latest"` for a slow consumer: it gets the newest publication of
//! each when its socket has room again. The replaced ones are skipped.
//!
//! Only under back-pressure are frames kept here. Until then these publications are queued like any other, so
//! that a subscriber that keeps up gets them all.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::frames::cost;

/// Bytes, overhead included, after which the connection takes no further frame from here at a time: a frame
/// that it has taken can no longer be replaced.
const PORTION_BYTES: usize = 64 << 10;

/// The newest publication of each key, kept until there is room: at most one for each subscription. Also
/// counts how much of the queue is of such channels, which must not make it full.
#[derive(Default)]
pub struct LatestFrames {
    waiting: BTreeMap<u64, Bytes>,
    /// Cost of the frames kept here.
    bytes: usize,
    /// The frames that were queued before the first one was kept here are taken; from then on the queue and
    /// these frames take turns.
    turn: bool,
    /// The key at which the next portion begins, so that each key gets its turn.
    next: u64,
    /// Cost of frames of such channels in the queue.
    queued: usize,
    /// Cost of frames of such channels that the writer has taken.
    taken: usize,
}

impl LatestFrames {
    /// Cost of the frames kept outside the queue.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How many of the queued, unwritten bytes do not count against the bound.
    pub fn uncounted_bytes(&self) -> usize {
        self.queued + self.taken
    }

    /// Whether it is the turn of the frames kept here, although the queue is not empty.
    pub fn has_turn(&self) -> bool {
        self.turn
    }

    pub fn give_up_turn(&mut self) {
        self.turn = false;
    }

    /// A frame of this cost is added to the queue.
    pub fn queue(&mut self, cost: usize) {
        self.queued += cost;
    }

    /// Returns true if it replaced an older one.
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

    /// A writer has taken the whole queue, and has nothing else.
    pub fn queue_handed_over(&mut self) {
        self.taken = std::mem::take(&mut self.queued);
        self.turn = self.waits();
    }

    /// A flusher has put back what the socket did not take. How much of `bytes_queued` is of such channels is
    /// not known exactly.
    pub fn queue_taken_back(&mut self, bytes_queued: usize) {
        self.queued = (self.queued + std::mem::take(&mut self.taken)).min(bytes_queued);
    }
}
