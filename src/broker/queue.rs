//! The queue of publications on their way into a broker: bounded in number and in bytes, and no
//! publication stays in it past its deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Receipt, Unavailable};
use crate::publication::{Channel, Publication};

/// Most publications that wait: an eighth of a second at the speed Redis takes them.
const PUBLICATIONS_MAX: usize = 65_536;

/// Most payload bytes that wait.
const BYTES_MAX: usize = 64 << 20;

/// The answer for a publication that has waited past its deadline; it was not published.
pub const LATE: Unavailable = Unavailable("the broker did not take the publication in time");

/// Where sessions hand in publications.
#[derive(Clone, Debug)]
pub struct Queue {
    items: mpsc::Sender<Item>,
    bytes: Arc<AtomicUsize>,
    timeout: Duration,
}

/// A publication on its way, and who waits for the answer.
#[derive(Debug)]
pub struct Item {
    pub channel: Channel,
    pub publication: Publication,
    /// When its publisher is told that it did not get through.
    pub deadline: Instant,
    receipt: Option<oneshot::Sender<Result<(), Unavailable>>>,
    bytes: Arc<AtomicUsize>,
}

impl Queue {
    /// `timeout`: how long a publication may take from here to the broker's answer.
    pub fn new(timeout: Duration) -> (Self, mpsc::Receiver<Item>) {
        let (items, receiver) = mpsc::channel(PUBLICATIONS_MAX);
        (Self { items, bytes: Arc::default(), timeout }, receiver)
    }

    /// Never waits: beyond the bounds the receipt says so at once.
    pub fn push(&self, channel: Channel, publication: Publication) -> Receipt {
        let size = publication.payload.len();
        let (sender, receipt) = Receipt::later();
        let before = self.bytes.fetch_add(size, Ordering::Relaxed);
        // From here on the item's drop gives the bytes back, also where it is refused.
        let item = Item {
            channel,
            publication,
            deadline: Instant::now() + self.timeout,
            receipt: Some(sender),
            bytes: self.bytes.clone(),
        };
        let fits = before == 0 || before + size <= BYTES_MAX;
        if fits && self.items.try_send(item).is_ok() {
            receipt
        } else {
            Receipt::now(Err(Unavailable("too many publications wait for the broker")))
        }
    }
}

impl Item {
    pub fn is_late(&self) -> bool {
        self.deadline <= Instant::now()
    }

    pub fn answer(mut self, answer: Result<(), Unavailable>) {
        if let Some(receipt) = self.receipt.take() {
            // The session may be gone; then nobody waits.
            let _ = receipt.send(answer);
        }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.bytes.fetch_sub(self.publication.payload.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn publication(bytes: usize) -> (Channel, Publication) {
        (Channel::new("a").unwrap(), Publication::bare(Bytes::from(vec![b'x'; bytes])))
    }

    #[tokio::test]
    async fn refuses_beyond_its_bytes_and_takes_again_once_there_is_room() {
        let (queue, mut items) = Queue::new(Duration::from_secs(1));
        let push = |bytes| {
            let (channel, publication) = publication(bytes);
            queue.push(channel, publication)
        };
        let first = push(BYTES_MAX - 10);
        assert!(push(11).await.is_err());
        items.recv().await.unwrap().answer(Ok(()));
        assert_eq!(first.await, Ok(()));
        let second = push(11);
        items.recv().await.unwrap().answer(Ok(()));
        assert_eq!(second.await, Ok(()));
    }

    #[tokio::test]
    async fn refuses_beyond_its_length() {
        let (queue, _items) = Queue::new(Duration::from_secs(1));
        let (channel, publication) = publication(1);
        let waiting: Vec<_> = (0..PUBLICATIONS_MAX)
            .map(|_| queue.push(channel.clone(), publication.clone()))
            .collect();
        assert!(queue.push(channel, publication).await.is_err());
        drop(waiting);
    }
}
