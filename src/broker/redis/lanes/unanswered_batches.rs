//! The publications that were sent to one master and have no reply yet.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, MutexGuard};

/// No publication is unanswered.
const NONE: u64 = u64::MAX;

/// The publications in flight to one master, which are sent in batches, one at a time.
pub struct UnansweredBatches {
    batch: Mutex<()>,
    /// The lowest number that an unanswered publication may have in
    /// [`PlainPublishes`](crate::broker::redis::rules::bypassed_history::PlainPublishes).
    oldest: AtomicU64,
}

impl Default for UnansweredBatches {
    fn default() -> Self {
        Self { batch: Mutex::default(), oldest: AtomicU64::new(NONE) }
    }
}

impl UnansweredBatches {
    /// Waits until no publication is in flight, and lets no batch begin while the guard is held.
    pub async fn lock(&self) -> MutexGuard<'_, ()> {
        self.batch.lock().await
    }

    /// A batch with this number begins, by the holder of the guard. The publications of a lost
    /// connection stay unanswered until a later batch is answered.
    pub fn begin(&self, number: u64) {
        self.oldest.fetch_min(number, Ordering::AcqRel);
    }

    /// The batch has been answered.
    pub fn answered(&self) {
        self.oldest.store(NONE, Ordering::Release);
    }

    /// The lowest number that an unanswered publication may have, if all later ones have at least
    /// `read`.
    pub fn unanswered_since(&self, read: u64) -> u64 {
        self.oldest.load(Ordering::Acquire).min(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_publications_of_a_lost_connection_stay_unanswered_until_a_later_batch_is_answered() {
        let in_flight = UnansweredBatches::default();
        assert_eq!(in_flight.unanswered_since(3), 3);
        in_flight.begin(1);
        in_flight.begin(2);
        assert_eq!(in_flight.unanswered_since(3), 1);
        in_flight.answered();
        assert_eq!(in_flight.unanswered_since(3), 3);
    }
}
