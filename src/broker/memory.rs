//! The broker of one node by itself: the default, under the same contract as Redis.

mod announcement;
mod history;
mod presence;
mod revocation;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, interval};

use self::history::{Appended, Histories};
use super::queue::{Item, LATE, Queue};
use super::{Broker, Config, Event, Page, Receipt, Sink, Unavailable};
use crate::publication::{Channel, Position, Publication};
use crate::rules::Rules;
use crate::{telemetry, vital};

/// Most publications relayed before other tasks get a turn.
const BATCH_MAX: usize = 64;

/// How often histories that are over are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// One task relays all publications, so that every subscriber sees them in the same order.
pub struct Memory {
    queue: Queue,
    rules: Rules,
    histories: Arc<Mutex<Histories>>,
    presence: presence::Table,
    sink: Sink,
}

struct Relay {
    sink: Sink,
    rules: Rules,
    histories: Arc<Mutex<Histories>>,
    idempotency_window: Duration,
}

impl Memory {
    pub fn start(config: &Config, sink: Sink) -> Self {
        let (queue, mut items) = Queue::new(config.publish_timeout);
        let histories: Arc<Mutex<Histories>> = Arc::default();
        let presence = presence::Table::new(sink.clone());
        let relay = Relay {
            sink: sink.clone(),
            rules: config.rules.clone(),
            histories: histories.clone(),
            idempotency_window: config.idempotency_window,
        };
        vital::spawn("memory broker", async move {
            let mut batch = Vec::with_capacity(BATCH_MAX);
            let mut sweep = interval(SWEEP_INTERVAL);
            loop {
                tokio::select! {
                    count = items.recv_many(&mut batch, BATCH_MAX) => {
                        if count == 0 {
                            return;
                        }
                        let mut left = batch.len();
                        for item in batch.drain(..) {
                            left -= 1;
                            relay.publish(item, left > 0);
                        }
                        tokio::task::yield_now().await;
                    }
                    _ = sweep.tick() => locked(&relay.histories).sweep(Instant::now()),
                }
            }
        });
        telemetry::broker_connected();
        Self { queue, rules: config.rules.clone(), histories, presence, sink }
    }
}

impl Relay {
    fn publish(&self, item: Item, more: bool) {
        if item.is_late() {
            item.answer(Err(LATE));
            return;
        }
        let channel = item.channel.as_str();
        let mut publication = item.publication.clone();
        // The rule is looked up under the lock, so that no history is begun of what was just forgotten.
        let mut histories = locked(&self.histories);
        if let Some(kept) = self.rules.of(channel).history {
            let (window, now) = (self.idempotency_window, Instant::now());
            match histories.append(&item.channel, publication, kept, window, now) {
                Appended::New(appended) => publication = appended,
                Appended::Before(position) => {
                    drop(histories);
                    item.answer(Ok(Some(position)));
                    return;
                }
            }
        }
        drop(histories);
        let position = publication.position;
        (self.sink)(Event::Publication { channel, publication, more });
        item.answer(Ok(position));
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

    /// They are looked at for each publication; only what is no longer kept is forgotten here.
    fn follow_rules(&self, rules: &Rules) -> BoxFuture<'_, ()> {
        locked(&self.histories).keep_those_of(rules);
        Box::pin(std::future::ready(()))
    }

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
        let mut histories = locked(&self.histories);
        let now = Instant::now();
        let position = |channel: &Channel| {
            let kept = self.rules.of(channel.as_str()).history?;
            Some(histories.position(channel, kept, now))
        };
        let positions = channels.iter().map(position).map(Ok).collect();
        Box::pin(std::future::ready(positions))
    }

    fn history(
        &self,
        channel: Channel,
        page: Page,
        count: usize,
    ) -> BoxFuture<'_, Result<Vec<Publication>, Unavailable>> {
        let page = locked(&self.histories).page(&channel, page, count, Instant::now());
        Box::pin(std::future::ready(Ok(page)))
    }
}

fn locked(histories: &Mutex<Histories>) -> MutexGuard<'_, Histories> {
    histories.lock().expect("no code panics while it holds the histories' lock")
}
