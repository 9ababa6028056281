//! Which lane last took publications of each slot from its queue. A publication that is queued
//! again may have been overtaken at another master.

use std::sync::atomic::{AtomicU32, Ordering};

use super::slot::Slot;

/// The number that no lane has.
pub const NO_LANE: u32 = 0;

/// The number of a lane for each slot.
pub struct SlotOwners(Box<[AtomicU32]>);

impl SlotOwners {
    /// No lane has taken anything yet.
    pub fn new(slots: usize) -> Self {
        Self((0..slots).map(|_| AtomicU32::new(NO_LANE)).collect())
    }

    /// Call under the lock of the lane's queue, and [`SlotOwners::is_last`] under the lock of the
    /// queue that the publication returns to.
    pub fn record_take(&self, slot: Slot, lane: u32) {
        self.0[usize::from(slot)].store(lane, Ordering::Relaxed);
    }

    pub fn is_last(&self, slot: Slot, lane: u32) -> bool {
        self.0[usize::from(slot)].load(Ordering::Relaxed) == lane
    }
}
