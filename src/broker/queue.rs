//! Publications on their way into a broker: bounded by their bytes, each with a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use crate::broker::receipt::Receipt;
use crate::broker::unavailable::Unavailable;
use crate::publication::{Channel, Position, Publication};

/// Queued bytes above which sessions stop reading from their clients. TCP then slows down a burst,
/// and publications are not refused: ten thousand clients that publish at once are normal.
const BACKPRESSURE_BYTES: usize = 8 << 20;

/// Maximum number of queued bytes. Above [`BACKPRESSURE_BYTES`] the queue takes only what sessions
/// had already read.
const BYTES_MAX: usize = 64 << 20;

/// Approximate cost of a publication beside its payload, so that many small ones are bounded too.
const ITEM_OVERHEAD_BYTES: usize = 512;

/// Reply to a publication that passed its deadline and was not published.
pub const LATE: Unavailable = Unavailable("the broker did not take the publication in time");

const FULL: Unavailable = Unavailable("too many publications wait for the broker");

/// Admits publications by their bytes, whichever queue they go to.
#[derive(Clone, Debug)]
pub struct Intake {
    load: Arc<Load>,
    timeout: Duration,
}

/// Queue from the sessions to the broker's task.
#[derive(Clone, Debug)]
pub struct PublishQueue {
    requests: mpsc::Sender<PublishRequest>,
    intake: Intake,
}

/// The queued bytes.
#[derive(Debug, Default)]
struct Load {
    bytes: AtomicUsize,
    freed: Notify,
}

/// A queued publication, with the sender for its reply.
#[derive(Debug)]
pub struct PublishRequest {
    pub channel: Channel,
    pub publication: Publication,
    /// When the publisher gets an error if the publication has not been published.
    pub deadline: Instant,
    receipt: Option<oneshot::Sender<Result<Option<Position>, Unavailable>>>,
    load: Arc<Load>,
}

impl Intake {
    /// `timeout`: how long a publication may take from here to the broker's reply.
    pub fn new(timeout: Duration) -> Self {
        Self { load: Arc::default(), timeout }
    }

    /// Never waits: fails immediately beyond the bound. The request holds its bytes until it is
    /// dropped.
    pub fn admit(
        &self,
        channel: Channel,
        publication: Publication,
    ) -> Result<(PublishRequest, Receipt<Option<Position>>), Unavailable> {
        let cost = cost(&publication);
        let (sender, receipt) = Receipt::pending();
        let before = self.load.bytes.fetch_add(cost, Ordering::Relaxed);
        // From here on dropping the request gives the bytes back, also when it is refused.
        let request = PublishRequest {
            channel,
            publication,
            deadline: Instant::now() + self.timeout,
            receipt: Some(sender),
            load: self.load.clone(),
        };
        let fits = before == 0 || before + cost <= BYTES_MAX;
        if fits { Ok((request, receipt)) } else { Err(FULL) }
    }

    /// Whether sessions may read more from their clients.
    pub fn has_capacity(&self) -> bool {
        self.load.bytes.load(Ordering::Relaxed) < BACKPRESSURE_BYTES
    }

    /// Resolves once [`has_capacity`](Self::has_capacity) is true. Cancel safe.
    pub async fn wait_for_capacity(&self) {
        loop {
            let freed = self.load.freed.notified();
            tokio::pin!(freed);
            // Enabled before the check, so that no notification is missed.
            freed.as_mut().enable();
            if self.has_capacity() {
                return;
            }
            freed.await;
        }
    }
}

impl PublishQueue {
    /// `timeout`: how long a publication may take from here to the broker's reply.
    pub fn new(timeout: Duration) -> (Self, mpsc::Receiver<PublishRequest>) {
        let (requests, receiver) = mpsc::channel(BYTES_MAX / ITEM_OVERHEAD_BYTES);
        (Self { requests, intake: Intake::new(timeout) }, receiver)
    }

    /// Never waits: beyond the bound the receipt fails immediately.
    pub fn push(&self, channel: Channel, publication: Publication) -> Receipt<Option<Position>> {
        match self.intake.admit(channel, publication) {
            Err(full) => Receipt::ready(Err(full)),
            Ok((request, receipt)) => match self.requests.try_send(request) {
                Ok(()) => receipt,
                Err(_) => Receipt::ready(Err(FULL)),
            },
        }
    }

    /// Whether sessions may read more from their clients.
    pub fn has_capacity(&self) -> bool {
        self.intake.has_capacity()
    }

    /// Resolves once [`has_capacity`](Self::has_capacity) is true. Cancel safe.
    pub async fn wait_for_capacity(&self) {
        self.intake.wait_for_capacity().await;
    }
}

impl PublishRequest {
    pub fn is_late(&self) -> bool {
        self.deadline <= Instant::now()
    }

    pub fn reply(mut self, answer: Result<Option<Position>, Unavailable>) {
        if let Some(receipt) = self.receipt.take() {
            // The session may have ended and dropped its receipt.
            let _ = receipt.send(answer);
        }
    }
}

impl Drop for PublishRequest {
    fn drop(&mut self) {
        let cost = cost(&self.publication);
        let before = self.load.bytes.fetch_sub(cost, Ordering::Relaxed);
        if before >= BACKPRESSURE_BYTES && before - cost < BACKPRESSURE_BYTES {
            self.load.freed.notify_waiters();
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
    async fn the_publish_queue_refuses_publications_beyond_its_bytes_until_there_is_capacity() {
        let (queue, mut requests) = PublishQueue::new(Duration::from_secs(1));
        let first = push(&queue, BYTES_MAX - 1000);
        assert!(push(&queue, 1000).await.is_err());
        requests.recv().await.unwrap().reply(Ok(None));
        assert_eq!(first.await, Ok(None));
        let second = push(&queue, 1000);
        requests.recv().await.unwrap().reply(Ok(None));
        assert_eq!(second.await, Ok(None));
    }

    #[tokio::test]
    async fn the_publish_queue_refuses_publications_beyond_its_length() {
        let (queue, _items) = PublishQueue::new(Duration::from_secs(1));
        let fit = BYTES_MAX / ITEM_OVERHEAD_BYTES;
        let pending: Vec<_> = (0..fit).map(|_| push(&queue, 0)).collect();
        assert!(push(&queue, 0).await.is_err());
        drop(pending);
    }

    #[tokio::test]
    async fn waiting_for_capacity_ends_when_the_publish_queue_has_capacity() {
        let (queue, mut requests) = PublishQueue::new(Duration::from_secs(1));
        let _first = push(&queue, BACKPRESSURE_BYTES);
        assert!(!queue.has_capacity());
        let pending = tokio::spawn({
            let queue = queue.clone();
            async move { queue.wait_for_capacity().await }
        });
        tokio::task::yield_now().await;
        assert!(!pending.is_finished());
        drop(requests.recv().await);
        pending.await.unwrap();
    }
}
