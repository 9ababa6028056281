//! What is queued beyond the bound of a queue: a backlog, publications larger than the bound, and those of
//! `latest` channels. Most queues have none.

use super::latest::LatestFrames;

/// How many publications larger than the whole bound may be queued beyond it. Their bytes are shared with the
/// other subscribers, and even a prompt reader needs time for them.
pub const OVERSIZED_MAX: u8 = 4;

/// Exists only while something is unwritten.
#[derive(Default)]
pub struct Overflow {
    /// Cost of a backlog that is not yet written.
    backlog: usize,
    /// How many publications larger than the bound were queued since the queue last held no more than the
    /// bound, and their cost.
    oversized: u8,
    oversized_bytes: usize,
    pub latest: LatestFrames,
}

impl Overflow {
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
