//! The broker of one node by itself: the default, under the same contract as Redis.

mod presence;

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::queue::{LATE, Queue};
use super::{Broker, Event, Page, Receipt, Sink, Unavailable};
use crate::publication::{Channel, Position, Publication};
use crate::{telemetry, vital};

/// Most publications relayed before other tasks get a turn.
const BATCH_MAX: usize = 64;

/// One task relays all publications, so that every subscriber sees them in the same order.
pub struct Memory {
    queue: Queue,
    presence: presence::Table,
}

impl Memory {
    pub fn start(publish_timeout: Duration, sink: Sink) -> Self {
        let (queue, mut items) = Queue::new(publish_timeout);
        let presence = presence::Table::new(sink.clone());
        vital::spawn("memory broker", async move {
            let mut batch = Vec::with_capacity(BATCH_MAX);
            while items.recv_many(&mut batch, BATCH_MAX).await > 0 {
                let mut left = batch.len();
                for item in batch.drain(..) {
                    left -= 1;
                    if item.is_late() {
                        item.answer(Err(LATE));
                        continue;
                    }
                    sink(Event::Publication {
                        channel: item.channel.as_str(),
                        publication: item.publication.clone(),
                        more: left > 0,
                    });
                    item.answer(Ok(None));
                }
                tokio::task::yield_now().await;
            }
        });
        telemetry::broker_connected();
        Self { queue, presence }
    }
}

impl Broker for Memory {
    fn publish(&self, channel: Channel, publication: Publication) -> Receipt<Option<Position>> {
        self.queue.push(channel, publication)
    }

    fn has_room(&self) -> bool {
        self.queue.has_room()
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.queue.room())
    }

    fn subscribe(&self, _: &Channel) -> Receipt<()> {
        Receipt::now(Ok(()))
    }

    fn unsubscribe(&self, _: &Channel) {}

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn nodes(&self, channels: Vec<Channel>) -> BoxFuture<'_, Result<Vec<u64>, Unavailable>> {
        Box::pin(std::future::ready(Ok(vec![1; channels.len()])))
    }

    fn positions(
        &self,
        channels: Vec<Channel>,
    ) -> BoxFuture<'_, Vec<Result<Option<Position>, Unavailable>>> {
        Box::pin(std::future::ready(vec![Ok(None); channels.len()]))
    }

    fn history(
        &self,
        _: Channel,
        _: Page,
        _: usize,
    ) -> BoxFuture<'_, Result<Vec<Publication>, Unavailable>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}
