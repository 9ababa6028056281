//! Publications that wait for one master, in order. Whatever happens on the way, a publication is
//! never overtaken by a later one of its channel.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::broker::queue::{LATE, PublishRequest};
use crate::broker::redis::lanes::slot::Slot;
use crate::broker::unavailable::Unavailable;
use crate::publication::Channel;

const STUCK: Unavailable = Unavailable("the broker takes no publications");

/// A publication in line. Their bytes are bounded where they are admitted.
#[derive(Debug)]
pub struct QueuedPublication {
    pub slot: Slot,
    pub item: PublishRequest,
    /// Redis has been asked for it, and could not do it then.
    pub is_again: bool,
}

impl QueuedPublication {
    pub fn new(slot: Slot, item: PublishRequest) -> Self {
        Self { slot, item, is_again: false }
    }
}

/// The line before one master.
pub struct MasterQueue {
    waiting: Mutex<PendingPublications>,
    /// There may be something to take.
    news: Notify,
    timeout: Duration,
}

struct PendingPublications {
    items: VecDeque<QueuedPublication>,
    /// Since when nothing leaves. None: the master takes publications.
    stuck_since: Option<Instant>,
}

/// How much is taken at once.
#[derive(Clone, Copy, Debug)]
pub struct BatchMax {
    pub publications: usize,
    /// Payload bytes beyond which the next publication waits for the next batch.
    pub bytes: usize,
}

/// Most publications in a batch that Redis could not do before: what it cannot do of some channels must
/// not keep out the others.
const AGAIN_MAX: usize = 64;

/// Most publications that are passed over for one batch.
const PASSED_MAX: usize = 4096;

impl MasterQueue {
    /// `timeout`: how long nothing may leave before nobody should wait for it any more.
    pub fn new(timeout: Duration) -> Self {
        let waiting =
            PendingPublications { items: VecDeque::new(), stuck_since: Some(Instant::now()) };
        Self { waiting: Mutex::new(waiting), news: Notify::new(), timeout }
    }

    /// Puts a publication last. A short outage is waited out; in a long one it is refused at once.
    pub fn push(&self, queued: QueuedPublication) -> Result<(), Unavailable> {
        let mut waiting = self.lock();
        if waiting.stuck_since.is_some_and(|since| since.elapsed() >= self.timeout) {
            return Err(STUCK);
        }
        waiting.items.push_back(queued);
        drop(waiting);
        self.news.notify_one();
        Ok(())
    }

    /// Takes the first ones, and answers those that are late. `taken` hears of each slot, before
    /// anybody else can look at the line.
    pub fn take(&self, most: BatchMax, taken: impl Fn(Slot)) -> Vec<QueuedPublication> {
        let mut waiting = self.lock();
        let mut batch = Vec::with_capacity(most.publications.min(waiting.items.len()));
        let mut passed: Vec<QueuedPublication> = Vec::new();
        let mut passed_channels: HashSet<Channel> = HashSet::new();
        let (mut bytes, mut again) = (0, 0);
        while batch.len() < most.publications
            && bytes < most.bytes
            && passed.len() < PASSED_MAX
            && let Some(queued) = waiting.items.pop_front()
        {
            if queued.item.is_late() {
                queued.item.answer(Err(LATE));
                continue;
            }
            // Nobody overtakes who was passed over.
            let is_over = queued.is_again && again == AGAIN_MAX;
            let channel = &queued.item.channel;
            if is_over || passed_channels.contains(channel) {
                passed_channels.insert(channel.clone());
                passed.push(queued);
                continue;
            }
            again += usize::from(queued.is_again);
            taken(queued.slot);
            bytes += queued.item.publication.payload.len();
            batch.push(queued);
        }
        passed.into_iter().rev().for_each(|queued| waiting.items.push_front(queued));
        batch
    }

    /// Puts publications back before all others, those that `may` still; the others are returned.
    pub fn put_back(
        &self,
        items: Vec<QueuedPublication>,
        may: impl Fn(&QueuedPublication) -> bool,
    ) -> Vec<QueuedPublication> {
        let mut waiting = self.lock();
        let (items, overtaken): (Vec<_>, Vec<_>) = items.into_iter().partition(may);
        for queued in items.into_iter().rev() {
            waiting.items.push_front(QueuedPublication { is_again: true, ..queued });
        }
        drop(waiting);
        self.news.notify_one();
        overtaken
    }

    /// Takes out what stands in line of some slots, in order.
    pub fn leave(&self, moves: impl Fn(Slot) -> bool) -> Vec<QueuedPublication> {
        let mut waiting = self.lock();
        let (moved, kept): (Vec<_>, Vec<_>) =
            waiting.items.drain(..).partition(|queued| moves(queued.slot));
        waiting.items = kept.into();
        moved
    }

    /// Lets those in who stood in another line, by their age. None of their slots stand here yet.
    pub fn join(&self, items: Vec<QueuedPublication>) {
        let mut waiting = self.lock();
        waiting.items.extend(items);
        // Stable: those of one slot keep their order.
        waiting.items.make_contiguous().sort_by_key(|queued| queued.item.deadline);
        drop(waiting);
        self.news.notify_one();
    }

    /// Notes that publications leave, or, with the moment one last did, no longer.
    pub fn set_stuck(&self, since: Option<Instant>) {
        self.lock().stuck_since = since;
    }

    /// Returns once somebody stands in line. For one task at a time. Cancel safe.
    pub async fn news(&self) {
        while self.lock().items.is_empty() {
            self.news.notified().await;
        }
    }

    /// Answers publications whose time is over, for as long as it is polled. Cancel safe.
    pub async fn expire(&self) -> std::convert::Infallible {
        loop {
            self.news().await;
            let first = self.lock().items.front().map(|queued| queued.item.deadline);
            if let Some(deadline) = first {
                sleep_until(deadline).await;
                self.answer_late();
            }
        }
    }

    fn answer_late(&self) {
        let mut waiting = self.lock();
        while waiting.items.front().is_some_and(|queued| queued.item.is_late()) {
            if let Some(late) = waiting.items.pop_front() {
                late.item.answer(Err(LATE));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, PendingPublications> {
        self.waiting.lock().expect("no code panics while it holds the line's lock")
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
        // A slot may have several channels; here each has one.
        let channel = Channel::new(&slot.to_string()).unwrap();
        let (item, _) = intake.admit(channel, publication).unwrap();
        QueuedPublication::new(slot, item)
    }

    fn names(items: &[QueuedPublication]) -> Vec<&str> {
        let text = |queued: &'_ QueuedPublication| {
            // Valid: every test writes it as text.
            String::from_utf8(queued.item.publication.payload.to_vec()).unwrap().leak() as &str
        };
        items.iter().map(text).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_moves_keeps_order_and_stands_by_age_among_those_already_there() {
        let intake = Intake::new(Duration::from_secs(2));
        let (old, new) =
            (MasterQueue::new(Duration::from_secs(2)), MasterQueue::new(Duration::from_secs(2)));
        for (line, slot, name) in
            [(&old, 1, "1a"), (&new, 2, "2a"), (&old, 3, "3a"), (&old, 1, "1b"), (&new, 2, "2b")]
        {
            line.push(queued(&intake, slot, name)).unwrap();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        new.join(old.leave(|slot| slot == 1));
        assert_eq!(names(&old.take(ALL, |_| {})), ["3a"]);
        assert_eq!(names(&new.take(ALL, |_| {})), ["1a", "2a", "1b", "2b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_back_stands_before_what_is_newer_unless_it_was_overtaken() {
        let intake = Intake::new(Duration::from_secs(2));
        let line = MasterQueue::new(Duration::from_secs(2));
        for name in ["a", "b", "c"] {
            line.push(queued(&intake, 0, name)).unwrap();
        }
        let batch = line.take(BatchMax { publications: 2, ..ALL }, |_| {});
        let over = line.put_back(batch, |it| it.item.publication.payload != "a");
        assert_eq!(names(&over), ["a"]);
        assert_eq!(names(&line.take(ALL, |_| {})), ["b", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_redis_cannot_do_of_one_channel_keeps_out_no_other() {
        let intake = Intake::new(Duration::from_secs(2));
        let line = MasterQueue::new(Duration::from_secs(2));
        let many = 2 * ALL.publications;
        for _ in 0..many {
            line.push(queued(&intake, 1, "stays")).unwrap();
        }
        line.push(queued(&intake, 2, "other")).unwrap();
        let first = line.take(BatchMax { publications: many, ..ALL }, |_| {});
        line.put_back(first, |_| true);
        let batch = line.take(ALL, |_| {});
        assert_eq!(batch.len(), AGAIN_MAX + 1);
        assert_eq!(names(&batch).last(), Some(&"other"));
        line.put_back(batch, |_| true);
        assert_eq!(line.leave(|slot| slot == 1).len(), many);
    }

    #[tokio::test(start_paused = true)]
    async fn channels_of_one_slot_keep_out_no_other_either() {
        let intake = Intake::new(Duration::from_secs(2));
        let line = MasterQueue::new(Duration::from_secs(2));
        let push = |slot, name: &str| {
            // As where there is no cluster: all channels have the one slot.
            line.push(QueuedPublication { slot: 0, ..queued(&intake, slot, name) }).unwrap();
        };
        (0..ALL.publications).for_each(|_| push(1, "stays"));
        let first = line.take(ALL, |_| {});
        line.put_back(first, |_| true);
        push(1, "later");
        push(2, "other");
        let batch = line.take(ALL, |_| {});
        assert_eq!(batch.len(), AGAIN_MAX + 1, "nothing of the channel that waits is overtaken");
        assert_eq!(names(&batch).last(), Some(&"other"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_outage_is_told_at_once_and_a_short_one_waited_out() {
        let intake = Intake::new(Duration::from_secs(60));
        let line = MasterQueue::new(Duration::from_secs(2));
        assert_eq!(line.push(queued(&intake, 0, "a")), Ok(()));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(line.push(queued(&intake, 0, "b")), Err(STUCK));
        line.set_stuck(None);
        assert_eq!(line.push(queued(&intake, 0, "c")), Ok(()));
    }
}
