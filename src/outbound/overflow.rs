//! What few queues have: frames beyond the bound (a backlog, publications larger than the bound, and those of
//! `latest` channels), and a stamp for the frames.

use std::collections::VecDeque;

use bytes::Bytes;

use super::latest::LatestFrames;
use crate::protocol::Stamp;
use crate::publication::Position;

/// How many publications larger than the whole bound may be queued beyond it. Their bytes are shared with the
/// other subscribers, and even a prompt reader needs time for them.
pub const OVERSIZED_MAX: u8 = 4;

/// Exists only while something is unwritten or a subscription is behind, and always if the frames are stamped.
#[derive(Default)]
pub struct Overflow {
    /// Called with each frame when it takes its place in the order of writing.
    stamp: Option<Stamp>,
    /// Cost of a backlog that is not yet written.
    backlog: usize,
    /// How many publications larger than the bound were queued since the queue last held no more than the
    /// bound, and their cost.
    oversized: u8,
    oversized_bytes: usize,
    pub latest: LatestFrames,
    /// The subscriptions that have fallen behind, each with the position after which it continues until the session
    /// has taken that.
    pub behind: Vec<(u64, Option<Position>)>,
}

impl Overflow {
    /// Stamps the frames from now on.
    pub fn stamped_by(stamp: Stamp) -> Box<Self> {
        Box::new(Self { stamp: Some(stamp), ..Self::default() })
    }

    /// The frame as it is written. None: it is not written.
    pub fn stamped(&mut self, frame: Bytes) -> Option<Bytes> {
        match &mut self.stamp {
            Some(stamp) => stamp(frame),
            None => Some(frame),
        }
    }

    /// Everything is written: what remains.
    pub fn emptied(mut self: Box<Self>) -> Option<Box<Self>> {
        let (stamp, behind) = (self.stamp.take(), std::mem::take(&mut self.behind));
        if stamp.is_none() && behind.is_empty() {
            return None;
        }
        *self = Self { stamp, behind, ..Self::default() };
        Some(self)
    }

    /// Moves some of the frames of `latest` channels to the writer, or behind the `queued` ones: a stamp says
    /// which frames came before, so a stamped frame must not overtake another. Returns their cost.
    pub fn take_latest(
        &mut self,
        queued: &mut VecDeque<Bytes>,
        taken: &mut VecDeque<Bytes>,
    ) -> usize {
        let Self { stamp, latest, .. } = self;
        match stamp {
            None => latest.take_portion(taken, Some),
            Some(stamp) if queued.is_empty() => latest.take_portion(taken, stamp),
            Some(stamp) => latest.queue_portion(queued, stamp),
        }
    }

    pub fn add_backlog(&mut self, cost: usize) {
        self.backlog += cost;
    }

    pub fn has_backlog(&self) -> bool {
        self.backlog > 0
    }

    pub fn add_oversized(&mut self, cost: usize) {
        if self.oversized < OVERSIZED_MAX {
            self.oversized += 1;
            self.oversized_bytes += cost;
        }
    }

    /// The queue holds no more than the bound, so no larger publication is queued any more.
    pub fn reset_oversized(&mut self) {
        (self.oversized, self.oversized_bytes) = (0, 0);
    }

    /// Whether so many of the queued `bytes` count that the queue is full.
    pub fn is_full(&self, bytes: usize, bytes_max: usize) -> bool {
        let counted = bytes.saturating_sub(self.latest.uncounted_bytes());
        counted >= bytes_max.saturating_add(self.backlog + self.oversized_bytes)
    }
}
