//! The publications queued for one master, in order. Whatever happens, no later publication of a
//! channel overtakes an earlier one.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::broker::queue::{LATE, PublishRequest};
use crate::broker::redis::lanes::slot::Slot;
use crate::broker::unavailable::Unavailable;
use crate::publication::Channel;

const STUCK: Unavailable = Unavailable("the broker accepts no publications");

/// A queued publication. The total bytes are bounded at admission.
#[derive(Debug)]
pub struct QueuedPublication {
    pub slot: Slot,
    pub request: PublishRequest,
    /// Redis could not publish it at an earlier attempt.
    pub is_retry: bool,
}

impl QueuedPublication {
    pub fn new(slot: Slot, request: PublishRequest) -> Self {
        Self { slot, request, is_retry: false }
    }
}

/// The queue of one master.
pub struct MasterQueue {
    pending: Mutex<PendingPublications>,
    /// Notified when a publication may have been queued.
    pushed: Notify,
    timeout: Duration,
}

struct PendingPublications {
    publications: VecDeque<QueuedPublication>,
    /// Since when no publication leaves the queue. `None`: the master takes publications.
    stuck_since: Option<Instant>,
}

/// Maximum size of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchMax {
    pub publications: usize,
    /// Payload bytes beyond which the next publication goes to the next batch.
    pub bytes: usize,
}

/// Maximum number of retries in a batch: channels whose publications keep failing must not block
/// the others.
const RETRIES_PER_BATCH_MAX: usize = 64;

/// Maximum number of publications that are skipped for one batch.
const SKIPPED_MAX: usize = 4096;

impl MasterQueue {
    /// `timeout`: how long the queue may be stuck before it refuses new publications.
    pub fn new(timeout: Duration) -> Self {
        let pending = PendingPublications {
            publications: VecDeque::new(),
            stuck_since: Some(Instant::now()),
        };
        Self { pending: Mutex::new(pending), pushed: Notify::new(), timeout }
    }

    /// Queues a publication. During a short outage it waits; in a long one it is refused
    /// immediately.
    pub fn push(&self, queued: QueuedPublication) -> Result<(), Unavailable> {
        let mut pending = self.lock();
        if pending.stuck_since.is_some_and(|since| since.elapsed() >= self.timeout) {
            return Err(STUCK);
        }
        pending.publications.push_back(queued);
        drop(pending);
        self.pushed.notify_one();
        Ok(())
    }

    /// Takes the first publications, and fails those past their deadline. `taken` is called with
    /// each slot while the queue is locked.
    pub fn take(&self, max: BatchMax, on_take: impl Fn(Slot)) -> Vec<QueuedPublication> {
        let mut pending = self.lock();
        let mut batch = Vec::with_capacity(max.publications.min(pending.publications.len()));
        let mut skipped: Vec<QueuedPublication> = Vec::new();
        let mut skipped_channels: HashSet<Channel> = HashSet::new();
        let (mut bytes, mut retries) = (0, 0);
        while batch.len() < max.publications
            && bytes < max.bytes
            && skipped.len() < SKIPPED_MAX
            && let Some(queued) = pending.publications.pop_front()
        {
            if queued.request.is_late() {
                queued.request.reply(Err(LATE));
                continue;
            }
            // Publications of a skipped channel are skipped too, to keep their order.
            let exceeds_retries = queued.is_retry && retries == RETRIES_PER_BATCH_MAX;
            let channel = &queued.request.channel;
            if exceeds_retries || skipped_channels.contains(channel) {
                skipped_channels.insert(channel.clone());
                skipped.push(queued);
                continue;
            }
            retries += usize::from(queued.is_retry);
            on_take(queued.slot);
            bytes += queued.request.publication.payload.len();
            batch.push(queued);
        }
        skipped.into_iter().rev().for_each(|queued| pending.publications.push_front(queued));
        batch
    }

    /// Queues publications again before all others if `may` allows it, and returns the rest.
    pub fn requeue(
        &self,
        publications: Vec<QueuedPublication>,
        is_allowed: impl Fn(&QueuedPublication) -> bool,
    ) -> Vec<QueuedPublication> {
        let mut pending = self.lock();
        let (publications, overtaken): (Vec<_>, Vec<_>) =
            publications.into_iter().partition(is_allowed);
        for queued in publications.into_iter().rev() {
            pending.publications.push_front(QueuedPublication { is_retry: true, ..queued });
        }
        drop(pending);
        self.pushed.notify_one();
        overtaken
    }

    /// Removes the publications of some slots, in order.
    pub fn remove(&self, moves: impl Fn(Slot) -> bool) -> Vec<QueuedPublication> {
        let mut pending = self.lock();
        let (moved, rest): (Vec<_>, Vec<_>) =
            pending.publications.drain(..).partition(|queued| moves(queued.slot));
        pending.publications = rest.into();
        moved
    }

    /// Adds publications from another queue, ordered by age. This queue has none of their slots
    /// yet.
    pub fn merge(&self, publications: Vec<QueuedPublication>) {
        let mut pending = self.lock();
        pending.publications.extend(publications);
        // A stable sort, which keeps the order within a slot.
        pending.publications.make_contiguous().sort_by_key(|queued| queued.request.deadline);
        drop(pending);
        self.pushed.notify_one();
    }

    /// Sets whether publications leave the queue; `since`: when one last did.
    pub fn set_stuck(&self, since: Option<Instant>) {
        self.lock().stuck_since = since;
    }

    /// Resolves once the queue is not empty. For one task at a time. Cancel safe.
    pub async fn wait_for_publication(&self) {
        while self.lock().publications.is_empty() {
            self.pushed.notified().await;
        }
    }

    /// Fails publications past their deadline, for as long as it is polled. Cancel safe.
    pub async fn expire(&self) -> std::convert::Infallible {
        loop {
            self.wait_for_publication().await;
            let first = self.lock().publications.front().map(|queued| queued.request.deadline);
            if let Some(deadline) = first {
                sleep_until(deadline).await;
                self.expire_late();
            }
        }
    }

    fn expire_late(&self) {
        let mut pending = self.lock();
        while pending.publications.front().is_some_and(|queued| queued.request.is_late()) {
            if let Some(late) = pending.publications.pop_front() {
                late.request.reply(Err(LATE));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, PendingPublications> {
        self.pending.lock().expect("no code panics while it holds the queue's lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::queue::Intake;
    use crate::publication::Publication;
    use bytes::Bytes;

    const ALL: BatchMax = BatchMax { publications: 100, bytes: 1 << 20 };

    fn queued(intake: &Intake, slot: Slot, name: &str) -> QueuedPublication {
        let publication = Publication::bare(Bytes::copy_from_slice(name.as_bytes()));
        // A slot may have several channels; in these tests each has one.
        let channel = Channel::new(&slot.to_string()).unwrap();
        let (request, _) = intake.admit(channel, publication).unwrap();
        QueuedPublication::new(slot, request)
    }

    fn names(publications: &[QueuedPublication]) -> Vec<&str> {
        let text = |queued: &'_ QueuedPublication| {
            // Valid: every test writes text.
            String::from_utf8(queued.request.publication.payload.to_vec()).unwrap().leak() as &str
        };
        publications.iter().map(text).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn merged_publications_keep_their_order_and_are_sorted_by_age() {
        let intake = Intake::new(Duration::from_secs(2));
        let (old, new) =
            (MasterQueue::new(Duration::from_secs(2)), MasterQueue::new(Duration::from_secs(2)));
        for (queue, slot, name) in
            [(&old, 1, "1a"), (&new, 2, "2a"), (&old, 3, "3a"), (&old, 1, "1b"), (&new, 2, "2b")]
        {
            queue.push(queued(&intake, slot, name)).unwrap();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        new.merge(old.remove(|slot| slot == 1));
        assert_eq!(names(&old.take(ALL, |_| {})), ["3a"]);
        assert_eq!(names(&new.take(ALL, |_| {})), ["1a", "2a", "1b", "2b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn requeued_publications_precede_newer_ones_unless_overtaken() {
        let intake = Intake::new(Duration::from_secs(2));
        let queue = MasterQueue::new(Duration::from_secs(2));
        for name in ["a", "b", "c"] {
            queue.push(queued(&intake, 0, name)).unwrap();
        }
        let batch = queue.take(BatchMax { publications: 2, ..ALL }, |_| {});
        let overtaken = queue.requeue(batch, |it| it.request.publication.payload != "a");
        assert_eq!(names(&overtaken), ["a"]);
        assert_eq!(names(&queue.take(ALL, |_| {})), ["b", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn retries_of_one_channel_do_not_block_other_channels() {
        let intake = Intake::new(Duration::from_secs(2));
        let queue = MasterQueue::new(Duration::from_secs(2));
        let many = 2 * ALL.publications;
        for _ in 0..many {
            queue.push(queued(&intake, 1, "stays")).unwrap();
        }
        queue.push(queued(&intake, 2, "other")).unwrap();
        let first = queue.take(BatchMax { publications: many, ..ALL }, |_| {});
        queue.requeue(first, |_| true);
        let batch = queue.take(ALL, |_| {});
        assert_eq!(batch.len(), RETRIES_PER_BATCH_MAX + 1);
        assert_eq!(names(&batch).last(), Some(&"other"));
        queue.requeue(batch, |_| true);
        assert_eq!(queue.remove(|slot| slot == 1).len(), many);
    }

    #[tokio::test(start_paused = true)]
    async fn retries_of_one_channel_do_not_block_other_channels_of_its_slot() {
        let intake = Intake::new(Duration::from_secs(2));
        let queue = MasterQueue::new(Duration::from_secs(2));
        let push = |slot, name: &str| {
            // As without a cluster, where all channels have one slot.
            queue.push(QueuedPublication { slot: 0, ..queued(&intake, slot, name) }).unwrap();
        };
        (0..ALL.publications).for_each(|_| push(1, "stays"));
        let first = queue.take(ALL, |_| {});
        queue.requeue(first, |_| true);
        push(1, "later");
        push(2, "other");
        let batch = queue.take(ALL, |_| {});
        assert_eq!(
            batch.len(),
            RETRIES_PER_BATCH_MAX + 1,
            "no publication of the blocked channel is overtaken"
        );
        assert_eq!(names(&batch).last(), Some(&"other"));
    }

    #[tokio::test(start_paused = true)]
    async fn publications_wait_out_a_short_outage_and_fail_immediately_in_a_long_one() {
        let intake = Intake::new(Duration::from_secs(60));
        let queue = MasterQueue::new(Duration::from_secs(2));
        assert_eq!(queue.push(queued(&intake, 0, "a")), Ok(()));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(queue.push(queued(&intake, 0, "b")), Err(STUCK));
        queue.set_stuck(None);
        assert_eq!(queue.push(queued(&intake, 0, "c")), Ok(()));
    }
}
