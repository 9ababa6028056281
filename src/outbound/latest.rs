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
    frames: BTreeMap<u64, Bytes>,
    /// Cost of the frames kept here.
    bytes: usize,
    /// The frames that were queued before the first one was kept here are taken; from then on the queue and
    /// these frames take turns.
    has_turn: bool,
    /// The key at which the next portion begins, so that each key gets its turn.
    next_key: u64,
    /// Cost of frames of such channels in the queue.
    queued_cost: usize,
    /// Cost of frames of such channels that the writer has taken.
    taken_cost: usize,
}

impl LatestFrames {
    /// Cost of the frames kept outside the queue.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn has_frames(&self) -> bool {
        !self.frames.is_empty()
    }

    /// How many of the queued, unwritten bytes do not count against the bound.
    pub fn uncounted_bytes(&self) -> usize {
        self.queued_cost + self.taken_cost
    }

    /// Whether it is the turn of the frames kept here, although the queue is not empty.
    pub fn has_turn(&self) -> bool {
        self.has_turn
    }

    pub fn clear_turn(&mut self) {
        self.has_turn = false;
    }

    /// A frame of this cost is added to the queue.
    pub fn count_queued(&mut self, cost: usize) {
        self.queued_cost += cost;
    }

    /// Returns true if it replaced an older one.
    pub fn replace(&mut self, key: u64, frame: Bytes) -> bool {
        self.has_turn &= self.has_frames();
        let replaced = self.remove(key);
        self.bytes += cost(&frame);
        self.frames.insert(key, frame);
        replaced
    }

    pub fn remove(&mut self, key: u64) -> bool {
        let removed = self.frames.remove(&key);
        self.bytes -= removed.as_ref().map_or(0, cost);
        removed.is_some()
    }

    /// Moves frames to the empty `frames` of a writer, each as `stamp` returns it; returns their cost.
    pub fn take_portion(
        &mut self,
        frames: &mut VecDeque<Bytes>,
        mut stamp: impl FnMut(Bytes) -> Option<Bytes>,
    ) -> usize {
        self.has_turn = false;
        self.taken_cost = 0;
        while self.taken_cost < PORTION_BYTES
            && let Some((key, frame)) = self.take_next()
        {
            self.next_key = key.wrapping_add(1);
            self.bytes -= cost(&frame);
            if let Some(frame) = stamp(frame) {
                self.taken_cost += cost(&frame);
                frames.push_back(frame);
            }
        }
        self.taken_cost
    }

    /// The same without a stamp, behind the frames of the queue.
    pub fn queue_portion(&mut self, queued: &mut VecDeque<Bytes>) -> usize {
        let cost = self.take_portion(queued, Some);
        self.taken_cost = 0;
        self.count_queued(cost);
        cost
    }

    fn take_next(&mut self) -> Option<(u64, Bytes)> {
        let key = match self.frames.range(self.next_key..).next() {
            Some((key, _)) => *key,
            None => *self.frames.keys().next()?,
        };
        self.frames.remove_entry(&key)
    }

    /// A writer has taken the whole queue, and has nothing else.
    pub fn queue_handed_over(&mut self) {
        self.taken_cost = std::mem::take(&mut self.queued_cost);
        self.has_turn = self.has_frames();
    }

    /// A flusher has put back what the socket did not take. How much of `bytes_queued` is of such channels is
    /// not known exactly.
    pub fn queue_taken_back(&mut self, bytes_queued: usize) {
        self.queued_cost =
            (self.queued_cost + std::mem::take(&mut self.taken_cost)).min(bytes_queued);
    }
}
