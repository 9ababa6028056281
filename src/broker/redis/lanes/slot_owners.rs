//! Which lane was the last to take publications of a slot off its line: what comes back to be put in line again
//! may have been overtaken at another master meanwhile.

use std::sync::atomic::{AtomicU32, Ordering};

use super::slot::Slot;

/// The number of no lane.
pub const NO_LANE: u32 = 0;

/// For each slot the number of the lane.
pub struct SlotOwners(Box<[AtomicU32]>);

impl SlotOwners {
    /// Nothing has been taken so far.
    pub fn new(slots: usize) -> Self {
        Self((0..slots).map(|_| AtomicU32::new(NO_LANE)).collect())
    }

    /// To be called under the lock of the lane's line, as is [`SlotOwners::is_last`] under that of the line it is about.
    pub fn took(&self, slot: Slot, lane: u32) {
        self.0[usize::from(slot)].store(lane, Ordering::Relaxed);
    }

    pub fn is_last(&self, slot: Slot, lane: u32) -> bool {
        self.0[usize::from(slot)].load(Ordering::Relaxed) == lane
    }
}
