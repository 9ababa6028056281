//! Publications on their way into a broker: bounded in bytes together, and none waits past its
//! deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use crate::broker::receipt::Receipt;
use crate::broker::unavailable::Unavailable;
use crate::publication::{Channel, Position, Publication};

/// Bytes beyond which sessions stop reading from their clients. A burst is held back by TCP and not
/// refused: ten thousand clients that say something at once are no fault.
const BYTES_ENOUGH: usize = 8 << 20;

/// Most bytes that wait. Only what sessions had read already comes in above [`BYTES_ENOUGH`].
const BYTES_MAX: usize = 64 << 20;

/// What a publication costs beside its payload, about, so that many small ones are bounded too.
const ITEM_OVERHEAD_BYTES: usize = 512;

/// The answer for a publication that has waited past its deadline; it was not published.
pub const LATE: Unavailable = Unavailable("the broker did not take the publication in time");

const FULL: Unavailable = Unavailable("too many publications wait for the broker");

/// Admits publications to wait for the broker, wherever they wait then.
#[derive(Clone, Debug)]
pub struct Intake {
    load: Arc<Load>,
    timeout: Duration,
}

/// Where sessions hand in publications.
#[derive(Clone, Debug)]
pub struct PublishQueue {
    items: mpsc::Sender<PublishRequest>,
    intake: Intake,
}

/// How much waits.
#[derive(Debug, Default)]
struct Load {
    bytes: AtomicUsize,
    room: Notify,
}

/// A publication on its way, and who waits for the answer.
#[derive(Debug)]
pub struct PublishRequest {
    pub channel: Channel,
    pub publication: Publication,
    /// When its publisher is told that it did not get through.
    pub deadline: Instant,
    receipt: Option<oneshot::Sender<Result<Option<Position>, Unavailable>>>,
    load: Arc<Load>,
}

impl Intake {
    /// `timeout`: how long a publication may take from here to the broker's answer.
    pub fn new(timeout: Duration) -> Self {
        Self { load: Arc::default(), timeout }
    }

    /// Never waits: beyond the bound it fails at once. Whoever has the item holds its bytes.
    pub fn admit(
        &self,
        channel: Channel,
        publication: Publication,
    ) -> Result<(PublishRequest, Receipt<Option<Position>>), Unavailable> {
        let cost = cost(&publication);
        let (sender, receipt) = Receipt::later();
        let before = self.load.bytes.fetch_add(cost, Ordering::Relaxed);
        // From here on the item's drop gives the bytes back, also where it is refused.
        let item = PublishRequest {
            channel,
            publication,
            deadline: Instant::now() + self.timeout,
            receipt: Some(sender),
            load: self.load.clone(),
        };
        let fits = before == 0 || before + cost <= BYTES_MAX;
        if fits { Ok((item, receipt)) } else { Err(FULL) }
    }

    /// May more be read from clients?
    pub fn has_room(&self) -> bool {
        self.load.bytes.load(Ordering::Relaxed) < BYTES_ENOUGH
    }

    /// Returns once there is room. Cancel safe.
    pub async fn room(&self) {
        loop {
            let room = self.load.room.notified();
            tokio::pin!(room);
            // From here on no change is missed.
            room.as_mut().enable();
            if self.has_room() {
                return;
            }
            room.await;
        }
    }
}

impl PublishQueue {
    /// `timeout`: how long a publication may take from here to the broker's answer.
    pub fn new(timeout: Duration) -> (Self, mpsc::Receiver<PublishRequest>) {
        let (items, receiver) = mpsc::channel(BYTES_MAX / ITEM_OVERHEAD_BYTES);
        (Self { items, intake: Intake::new(timeout) }, receiver)
    }

    /// Never waits: beyond the bound the receipt says so at once.
    pub fn push(&self, channel: Channel, publication: Publication) -> Receipt<Option<Position>> {
        match self.intake.admit(channel, publication) {
            Err(full) => Receipt::now(Err(full)),
            Ok((item, receipt)) => match self.items.try_send(item) {
                Ok(()) => receipt,
                Err(_) => Receipt::now(Err(FULL)),
            },
        }
    }

    /// May more be read from clients?
    pub fn has_room(&self) -> bool {
        self.intake.has_room()
    }

    /// Returns once there is room. Cancel safe.
    pub async fn room(&self) {
        self.intake.room().await;
    }
}

impl PublishRequest {
    pub fn is_late(&self) -> bool {
        self.deadline <= Instant::now()
    }

    pub fn answer(mut self, answer: Result<Option<Position>, Unavailable>) {
        if let Some(receipt) = self.receipt.take() {
            // The session may be gone; then nobody waits.
            let _ = receipt.send(answer);
        }
    }
}

impl Drop for PublishRequest {
    fn drop(&mut self) {
        let cost = cost(&self.publication);
        let before = self.load.bytes.fetch_sub(cost, Ordering::Relaxed);
        if before >= BYTES_ENOUGH && before - cost < BYTES_ENOUGH {
            self.load.room.notify_waiters();
        }
    }
}

fn cost(publication: &Publication) -> usize {
    publication.payload.len() + ITEM_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn push(queue: &PublishQueue, bytes: usize) -> Receipt<Option<Position>> {
        let publication = Publication::bare(Bytes::from(vec![b'x'; bytes]));
        queue.push(Channel::new("a").unwrap(), publication)
    }

    #[tokio::test]
    async fn refuses_beyond_its_bytes_and_takes_again_once_there_is_room() {
        let (queue, mut items) = PublishQueue::new(Duration::from_secs(1));
        let first = push(&queue, BYTES_MAX - 1000);
        assert!(push(&queue, 1000).await.is_err());
        items.recv().await.unwrap().answer(Ok(None));
        assert_eq!(first.await, Ok(None));
        let second = push(&queue, 1000);
        items.recv().await.unwrap().answer(Ok(None));
        assert_eq!(second.await, Ok(None));
    }

    #[tokio::test]
    async fn refuses_beyond_its_length() {
        let (queue, _items) = PublishQueue::new(Duration::from_secs(1));
        let fit = BYTES_MAX / ITEM_OVERHEAD_BYTES;
        let waiting: Vec<_> = (0..fit).map(|_| push(&queue, 0)).collect();
        assert!(push(&queue, 0).await.is_err());
        drop(waiting);
    }

    #[tokio::test]
    async fn who_waits_for_room_is_told_when_there_is_some() {
        let (queue, mut items) = PublishQueue::new(Duration::from_secs(1));
        let _first = push(&queue, BYTES_ENOUGH);
        assert!(!queue.has_room());
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(items.recv().await);
        waiting.await.unwrap();
    }
}
