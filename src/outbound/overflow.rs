//! What few queues have: frames beyond the bound (a backlog, publications larger than the bound, and those of
//! `latest` channels), and a stamp for the frames.

use std::collections::VecDeque;

use bytes::Bytes;

use super::frames::cost;
use super::latest::LatestFrames;
use crate::protocol::Stamp;
use crate::publication::Position;

/// How many publications larger than the whole bound may be queued beyond it. Their bytes are shared with the
/// other subscribers, and even a prompt reader needs time for them.
pub const OVERSIZED_MAX: u8 = 4;

/// Bytes, overhead included, after which a writer takes no further stamped frame at a time: until it is stamped, a
/// frame shares its bytes with other queues.
const STAMPED_BYTES: usize = 64 << 10;

/// Exists only while something is unwritten or a subscription is behind, and always if the frames are stamped.
#[derive(Default)]
pub struct Overflow {
    /// Called with each frame when a writer takes it.
    stamp: Option<Stamp>,
    /// How many frames at the front of the queue are stamped already: a writer has put them back.
    stamped: usize,
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

    /// Stamps the frames from now on, those that are put back included, unless there is a stamp already.
    pub fn stamp_from_now(&mut self, stamp: Stamp) {
        if self.stamp.is_none() {
            (self.stamp, self.stamped) = (Some(stamp), 0);
        }
    }

    pub fn has_stamp(&self) -> bool {
        self.stamp.is_some()
    }

    /// Moves frames from the front of the queue to the empty `taken` of a writer, and stamps them. Returns the cost
    /// of the frames before and after. Takes at least one frame that is to be written, if there is one.
    pub fn take_stamped(
        &mut self,
        queued: &mut VecDeque<Bytes>,
        taken: &mut VecDeque<Bytes>,
    ) -> (usize, usize) {
        let (mut before, mut after) = (0, 0);
        while after < STAMPED_BYTES
            && let Some(frame) = queued.pop_front()
        {
            before += cost(&frame);
            let is_stamped = self.stamped > 0;
            self.stamped -= usize::from(is_stamped);
            let frame = match &mut self.stamp {
                Some(stamp) if !is_stamped => stamp(frame),
                _ => Some(frame),
            };
            if let Some(frame) = frame {
                after += cost(&frame);
                taken.push_back(frame);
            }
        }
        (before, after)
    }

    /// A writer has put so many frames back in front of the queue.
    pub fn put_back(&mut self, frames: usize) {
        self.stamped += frames;
    }

    /// The queue has only so many frames left.
    pub fn cut(&mut self, frames: usize) {
        self.stamped = self.stamped.min(frames);
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
    /// which frames came before, so a frame must not overtake another that is to be stamped. Returns their cost.
    pub fn take_latest(
        &mut self,
        queued: &mut VecDeque<Bytes>,
        taken: &mut VecDeque<Bytes>,
    ) -> usize {
        let Self { stamp, latest, .. } = self;
        match stamp {
            None => latest.take_portion(taken, Some),
            Some(stamp) if queued.is_empty() => latest.take_portion(taken, stamp),
            Some(_) => latest.queue_portion(queued),
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
