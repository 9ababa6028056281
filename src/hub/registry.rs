//! The node's channels and connections: plain data behind many short locks. Delivery holds none of
//! them while it walks a channel's subscribers.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::shard::Shard;
use super::subscribers::Subscriber;
use crate::broker::{Broker, Event, Receipt, Sink};
use crate::close::Close;
use crate::outbound::{AtOnce, Flushers, Full, Outbound, Pushed};
use crate::protocol::{Encoded, Encoding, Push};
use crate::publication::{Channel, Publication, SessionId};
use crate::telemetry;

/// Slices of the channels and of the connections, so that sessions seldom meet at one lock.
const SHARDS: usize = 64;

/// Subscribers of a channel up to which a publication is written where it is delivered.
const AT_ONCE_MAX: usize = 1024;

/// The channels and connections of this node.
pub struct Registry {
    channels: [Mutex<Shard>; SHARDS],
    connections: [Mutex<HashMap<u64, Arc<Outbound>>>; SHARDS],
    hasher: RandomState,
    flushers: Arc<Flushers>,
    /// Numbers subscriptions, so that only the very same one is removed.
    subscriptions: AtomicU64,
}

/// A channel and how many local sessions subscribe to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelCount {
    pub channel: Channel,
    pub subscribers: usize,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            channels: std::array::from_fn(|_| Mutex::default()),
            connections: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            flushers: Arc::default(),
            subscriptions: AtomicU64::new(0),
        }
    }
}

impl Registry {
    /// Starts the tasks that write what is delivered, on the current runtime.
    pub fn start_flushers(&self) {
        let workers = tokio::runtime::Handle::current().metrics().num_workers();
        self.flushers.start(workers);
    }

    /// Where a broker puts its events.
    pub fn sink(self: Arc<Self>) -> Sink {
        Arc::new(move |event| match event {
            Event::Publication { channel, publication, more } => {
                self.deliver(channel, &publication, more);
            }
            Event::Subscribed { channel, interrupted: Some(reason) }
            | Event::Gap { channel, reason } => self.push_gap(channel, reason),
            Event::Subscribed { interrupted: None, .. } | Event::Presence { .. } => {}
        })
    }

    /// Puts a publication in line for each local subscriber of the channel. Never waits.
    ///
    /// Where no `more` follows, it is written while each subscriber's data is at hand: one walk
    /// instead of two. A burst is put in line first, and a large channel left to the flushers.
    fn deliver(&self, channel: &str, publication: &Publication, more: bool) {
        let received = Instant::now();
        let Some(subscribers) = self.shard(channel).subscribers(channel) else { return };
        let mut encoded = Encoded::new(channel, publication);
        let mut delivered = [0; Encoding::COUNT];
        let mut to_flush = Vec::new();
        let mut at_once = (!more && subscribers.places() <= AT_ONCE_MAX).then(AtOnce::default);
        for subscriber in subscribers.iter() {
            let own = publication.session == Some(subscriber.outbound.session());
            if own && !subscriber.echo {
                continue;
            }
            match self.push(&subscriber.outbound, encoded.frame(subscriber.encoding)) {
                Err(Full) => {
                    close_slow(&subscriber.outbound);
                    continue;
                }
                Ok(Pushed::Flush) => match &mut at_once {
                    Some(at_once) => at_once.write(&subscriber.outbound),
                    None => to_flush.push(subscriber.outbound.clone()),
                },
                Ok(Pushed::Covered) => {}
            }
            delivered[subscriber.encoding.label() as usize] += 1;
            if own {
                subscriber.outbound.echoed();
            }
        }
        if at_once.is_none() {
            self.flushers.flush(to_flush, publication.payload.len());
        }
        telemetry::publication_relayed(delivered, received.elapsed(), age(publication));
    }

    fn push_gap(&self, channel: &Channel, reason: &'static str) {
        let Some(subscribers) = self.shard(channel.as_str()).subscribers(channel.as_str()) else {
            return;
        };
        let mut to_flush = Vec::new();
        let gap = Push::Gap { channel: channel.clone(), reason };
        for subscriber in subscribers.iter() {
            let Some(frame) = subscriber.encoding.push(&gap) else { continue };
            match self.push(&subscriber.outbound, frame) {
                Err(Full) => close_slow(&subscriber.outbound),
                Ok(Pushed::Flush) => to_flush.push(subscriber.outbound.clone()),
                Ok(Pushed::Covered) => {}
            }
        }
        self.flushers.flush(to_flush, channel.as_str().len());
    }

    /// Queues a frame. Full is only who has been written to and did not take it.
    fn push(&self, outbound: &Outbound, frame: Bytes) -> Result<Pushed, Full> {
        let pushed = outbound.push(frame.clone());
        if pushed.is_ok() || !outbound.is_in_line() {
            return pushed;
        }
        self.flushers.write_line();
        match outbound.push(frame.clone()) {
            // Another thread is writing it this very moment: it is not slow yet.
            Err(Full) if outbound.is_in_line() => {
                outbound.push_beyond(frame);
                Ok(Pushed::Covered)
            }
            pushed => pushed,
        }
    }

    /// Counts one more claim on the channel and asks the broker for it.
    pub(super) fn add_interest(&self, channel: &Channel, broker: &dyn Broker) -> Receipt<()> {
        let mut shard = self.shard(channel.as_str());
        shard.add_interest(channel);
        // Under the lock, so that the broker hears of first and last claims in their order.
        broker.subscribe(channel)
    }

    pub(super) fn remove_interest(&self, channel: &Channel, broker: &dyn Broker) {
        let mut shard = self.shard(channel.as_str());
        if shard.remove_interest(channel) {
            broker.unsubscribe(channel);
        }
    }

    /// Returns the subscription's number.
    pub(super) fn add_subscriber(&self, channel: &Channel, subscriber: Subscriber) -> u64 {
        let mut shard = self.shard(channel.as_str());
        // Under the lock, so that a channel's subscribers stand in the order of their numbers.
        let number = self.subscriptions.fetch_add(1, Ordering::Relaxed);
        shard.add_subscriber(channel, number, subscriber);
        number
    }

    pub(super) fn remove_subscriber(&self, channel: &Channel, number: u64) {
        self.shard(channel.as_str()).remove_subscriber(channel, number);
    }

    pub(super) fn add_connection(&self, outbound: Arc<Outbound>) {
        let session = outbound.session();
        self.connections_of(session).insert(session.number, outbound);
    }

    pub(super) fn remove_connection(&self, session: SessionId) {
        self.connections_of(session).remove(&session.number);
    }

    /// All connections, in no order.
    pub fn connections(&self) -> Vec<Arc<Outbound>> {
        let mut all = Vec::new();
        for slice in &self.connections {
            all.extend(locked(slice).values().cloned());
        }
        all
    }

    pub fn connection_count(&self) -> usize {
        self.connections.iter().map(|slice| locked(slice).len()).sum()
    }

    /// Channels with local subscribers, by name.
    pub fn channels(&self) -> Vec<ChannelCount> {
        let mut all: Vec<_> =
            self.channels.iter().flat_map(|shard| locked(shard).counts()).collect();
        all.sort_by(|a, b| a.channel.cmp(&b.channel));
        all
    }

    /// What a scrape of the metrics wants to know.
    pub fn levels(&self) -> telemetry::Levels {
        let counts = self.channels.iter().map(|shard| locked(shard).totals());
        let (channels, subscriptions) = counts.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        let waiting = |slice: &Mutex<HashMap<u64, Arc<Outbound>>>| {
            locked(slice).values().map(|outbound| outbound.bytes()).sum::<usize>()
        };
        let outbound_queue_bytes = self.connections.iter().map(waiting).sum();
        telemetry::Levels { channels, subscriptions, outbound_queue_bytes }
    }

    fn shard(&self, channel: &str) -> MutexGuard<'_, Shard> {
        locked(&self.channels[self.hasher.hash_one(channel) as usize % SHARDS])
    }

    fn connections_of(&self, session: SessionId) -> MutexGuard<'_, HashMap<u64, Arc<Outbound>>> {
        locked(&self.connections[session.number as usize % SHARDS])
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds a lock of the hub")
}

fn close_slow(outbound: &Outbound) {
    if outbound.close(Close::Slow) {
        telemetry::slow_consumer_closed();
    }
}

/// An older publication was stamped by a broken clock, or in another unit.
const AGE_MAX: Duration = Duration::from_secs(3600);

/// How long ago the first node took the publication. Clocks differ: never less than nothing.
fn age(publication: &Publication) -> Option<Duration> {
    let sent_at = Duration::from_micros(publication.sent_at?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(now.saturating_sub(sent_at)).filter(|age| *age < AGE_MAX)
}
