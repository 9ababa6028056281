//! The node's channels and connections: plain data behind many short locks. Delivery holds none of
//! them while it walks a channel's subscribers.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::recovery::{Agenda, Work};
use super::shard::Shard;
use super::subscribers::{Snapshot, Subscriber, Subscribers};
use super::tail::{Arrived, Tail};
use super::top::{Tally, Windows};
use crate::broker::{Broker, Event, Receipt, Sink};
use crate::close::Close;
use crate::outbound::{AtOnce, Flushers, Full, Outbound, Pushed};
use crate::protocol::{Encoded, Encoding, Push};
use crate::publication::{Change, Channel, Publication, SessionId, User};
use crate::rules::{Delivery, Rules};
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
    /// Numbers subscriptions, from 1, so that only the very same one is removed and delivered to.
    subscriptions: AtomicU64,
    rules: Rules,
    agenda: Agenda,
    windows: Windows,
}

/// A channel and how many local sessions subscribe to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelCount {
    pub channel: Channel,
    pub subscribers: usize,
}

impl Registry {
    pub fn new(rules: Rules) -> Self {
        Self {
            channels: std::array::from_fn(|_| Mutex::default()),
            connections: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            flushers: Arc::default(),
            subscriptions: AtomicU64::new(1),
            rules,
            agenda: Agenda::default(),
            windows: Windows::default(),
        }
    }

    /// Counts what channels carry, with about so many counters: as many for each shard. 0: it does not.
    pub fn counting(mut self, counters: usize) -> Self {
        for shard in &mut self.channels {
            let shard = shard.get_mut().expect("nobody has held the lock so far");
            shard.count_with(Tally::new(counters.div_ceil(SHARDS)));
        }
        self
    }

    /// Starts the tasks that write what is delivered, on the current runtime.
    pub fn start_flushers(&self) {
        let workers = tokio::runtime::Handle::current().metrics().num_workers();
        self.flushers.start(workers);
    }

    /// Where a broker puts its events.
    pub fn sink(self: Arc<Self>) -> Sink {
        Arc::new(move |event| match event {
            Event::Publication { channel, publication, more } => {
                self.deliver(channel, publication, more);
            }
            Event::Subscribed { channel, interrupted: None } => self.open(channel),
            Event::Subscribed { channel, interrupted: Some(reason) } => {
                self.interrupted(channel, reason);
            }
            Event::Gap { channel, reason } => self.push_gap(channel.as_str(), reason),
            Event::Presence { channel, user, change } => self.push_change(channel, user, change),
            // Whose tokens count and what nodes there are is not for the hub to know.
            Event::Revoked { .. } | Event::RevocationsRead { .. } | Event::Announced(_) => {}
        })
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Looks at a channel's standing while its lock is held. None: nobody wants it, or it keeps no
    /// history.
    pub(super) fn with_tail<R>(
        &self,
        channel: &Channel,
        look: impl FnOnce(&mut Tail, &Subscribers) -> R,
    ) -> Option<R> {
        let mut shard = self.shard(channel.as_str());
        let wanted = shard.wanted(channel.as_str())?;
        Some(look(wanted.tail?, wanted.subscribers))
    }

    /// Looks at the standing of each channel that keeps history.
    pub(super) fn each_tail(&self, look: impl Fn(&mut Tail)) {
        for shard in &self.channels {
            locked(shard).tails().for_each(&look);
        }
    }

    /// What is to be read from history.
    pub(super) fn agenda(&self) -> &Agenda {
        &self.agenda
    }

    /// Takes a publication of the broker: to the subscribers, or aside while the channel catches up.
    fn deliver(&self, channel: &str, publication: Publication, more: bool) {
        let received = Instant::now();
        let hash = self.hasher.hash_one(channel);
        let mut shard = self.shard_of(hash);
        let Some(wanted) = shard.wanted(channel) else { return };
        if wanted.tally.is_on() {
            let bytes = publication.payload.len().saturating_mul(wanted.subscribers.len());
            wanted.tally.count(self.windows.number(received), hash, channel, bytes as u64);
        }
        let publication = match wanted.tail {
            None => {
                *wanted.seen = publication.position.or(*wanted.seen);
                publication
            }
            Some(tail) => match tail.arrive(publication) {
                Arrived::Deliver(publication) => publication,
                Arrived::Nothing => return,
                Arrived::Read(reading) => {
                    drop(shard);
                    if let Ok(channel) = Channel::new(channel) {
                        self.agenda.add(Work::CatchUp(channel, reading, 0));
                    }
                    return;
                }
            },
        };
        let (subscribers, delivery) = (wanted.subscribers.snapshot(), wanted.delivery);
        drop(shard);
        self.hand_out(channel, &subscribers, delivery, &publication, more, received);
    }

    /// Puts a publication in line for each of the subscribers. Never waits.
    ///
    /// Where no `more` follows, it is written while each subscriber's data is at hand: one walk
    /// instead of two. A burst is put in line first, and a large channel left to the flushers.
    pub(super) fn hand_out(
        &self,
        channel: &str,
        subscribers: &Snapshot,
        delivery: Delivery,
        publication: &Publication,
        more: bool,
        received: Instant,
    ) {
        let trace = telemetry::relay_began(channel, publication);
        let mut encoded = Encoded::new(channel, publication);
        let mut delivered = [0; Encoding::COUNT];
        let mut to_flush = Vec::new();
        let mut at_once = (!more && subscribers.places() <= AT_ONCE_MAX).then(AtOnce::default);
        let mut skipped = 0;
        for (number, subscriber) in subscribers.numbered() {
            let own = publication.session == Some(subscriber.outbound.session());
            if own && !subscriber.echo {
                continue;
            }
            let frame = encoded.frame(subscriber.encoding);
            let pushed = match delivery {
                Delivery::Every => self.push(&subscriber.outbound, number, frame),
                Delivery::Latest => {
                    let latest = subscriber.outbound.push_latest(number, frame);
                    skipped += u64::from(latest.skipped);
                    Ok(latest.pushed)
                }
            };
            match pushed {
                Err(Full) => {
                    close_slow(&subscriber.outbound);
                    continue;
                }
                Ok(Pushed::Flush) => match &mut at_once {
                    Some(at_once) => at_once.write(&subscriber.outbound),
                    None => to_flush.push(subscriber.outbound.clone()),
                },
                Ok(Pushed::Covered) => {}
                Ok(Pushed::Ended) => continue,
            }
            delivered[subscriber.encoding.label() as usize] += 1;
            if own {
                subscriber.outbound.echoed();
            }
        }
        if at_once.is_none() {
            self.flushers.flush(to_flush, publication.payload.len());
        }
        if skipped > 0 {
            telemetry::publications_skipped(skipped);
        }
        telemetry::publication_relayed(trace, delivered, received.elapsed(), age(publication));
    }

    pub(super) fn push_gap(&self, channel: &str, reason: &'static str) {
        let subscribers = {
            let mut shard = self.shard(channel);
            let Some(wanted) = shard.wanted(channel) else { return };
            // What comes next may not follow what they got.
            *wanted.seen = None;
            wanted.subscribers.snapshot()
        };
        self.push_to_all(&subscribers, &Push::Gap { channel, reason });
    }

    fn push_change(&self, channel: &str, user: User, change: Change) {
        let Some(subscribers) = self.shard(channel).subscribers(channel) else { return };
        self.push_to_all(&subscribers, &Push::Presence { channel, user, change });
    }

    /// Tells all subscribers of a channel something that is no publication.
    pub(super) fn push_to_all(&self, subscribers: &Snapshot, push: &Push<'_>) {
        let mut to_flush = Vec::new();
        let mut frames: [Option<Option<Bytes>>; Encoding::COUNT] = Default::default();
        let mut bytes = 0;
        for (number, subscriber) in subscribers.numbered() {
            let frame = frames[subscriber.encoding as usize]
                .get_or_insert_with(|| subscriber.encoding.push(push));
            let Some(frame) = frame.clone() else {
                if subscriber.closes_on_gap && matches!(push, Push::Gap { .. }) {
                    subscriber.outbound.close(Close::Gap);
                }
                continue;
            };
            bytes = frame.len();
            match self.push(&subscriber.outbound, number, frame) {
                Err(Full) => close_slow(&subscriber.outbound),
                Ok(Pushed::Flush) => to_flush.push(subscriber.outbound.clone()),
                Ok(Pushed::Covered | Pushed::Ended) => {}
            }
        }
        self.flushers.flush(to_flush, bytes);
    }

    /// Queues a frame of a subscription. Fails only where the socket was written to and did not take enough.
    fn push(&self, outbound: &Outbound, number: u64, frame: Bytes) -> Result<Pushed, Full> {
        let pushed = outbound.push(number, frame.clone());
        if pushed.is_ok() || !outbound.is_in_line() {
            return pushed;
        }
        self.flushers.write_line();
        match outbound.push(number, frame.clone()) {
            // Another thread is writing it this very moment: it is not slow yet.
            Err(Full) if outbound.is_in_line() => {
                outbound.push_beyond(number, frame);
                Ok(Pushed::Covered)
            }
            pushed => pushed,
        }
    }

    /// Counts one more claim on the channel and asks the broker for it.
    pub(super) fn add_interest(&self, channel: &Channel, broker: &dyn Broker) -> Receipt<()> {
        let mut shard = self.shard(channel.as_str());
        // Looked up under the lock: new rules go through the shards one by one.
        shard.add_interest(channel, self.rules.of(channel.as_str()));
        // Under the lock, so that the broker hears of first and last claims in their order.
        broker.subscribe(channel)
    }

    pub(super) fn remove_interest(&self, channel: &Channel, broker: &dyn Broker) {
        let mut shard = self.shard(channel.as_str());
        if shard.remove_interest(channel) {
            broker.unsubscribe(channel);
        }
    }

    /// Takes up the rules as they are now, and has every session look at what they mean for it.
    pub(super) fn follow_rules(&self, broker: &dyn Broker) {
        for shard in &self.channels {
            let mut shard = locked(shard);
            for follow in shard.follow(&self.rules) {
                if follow.presence {
                    // Again, and with it for its joins and leaves. Nobody waits for that.
                    drop(broker.subscribe(&follow.channel));
                }
                let tail = shard.wanted(follow.channel.as_str()).and_then(|wanted| wanted.tail);
                if let Some(reading) = tail.filter(|_| follow.opened).and_then(Tail::open) {
                    self.agenda.add(Work::Open(follow.channel, reading, 0));
                }
            }
        }
        self.nudge_all();
    }

    /// Has every session look whether it may still be and do what it does.
    pub fn nudge_all(&self) {
        self.connections().iter().for_each(|connection| connection.nudge());
    }

    /// Returns the subscription's number. `greet` is called while nothing else can come.
    pub(super) fn add_subscriber(
        &self,
        channel: &Channel,
        subscriber: Subscriber,
        greet: impl FnOnce(Option<&mut Tail>),
    ) -> u64 {
        let mut shard = self.shard(channel.as_str());
        greet(shard.wanted(channel.as_str()).and_then(|wanted| wanted.tail));
        // Under the lock, so that a channel's subscribers stand in the order of their numbers.
        let number = self.subscriptions.fetch_add(1, Ordering::Relaxed);
        subscriber.outbound.begin(number);
        shard.add_subscriber(channel, number, subscriber);
        number
    }

    pub(super) fn remove_subscriber(&self, channel: &Channel, number: u64) {
        let removed = self.shard(channel.as_str()).remove_subscriber(channel, number);
        if let Some(subscriber) = removed {
            subscriber.outbound.end(number);
        }
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

    pub(super) fn shard(&self, channel: &str) -> MutexGuard<'_, Shard> {
        self.shard_of(self.hasher.hash_one(channel))
    }

    /// The shard of the channel whose name has this hash.
    fn shard_of(&self, hash: u64) -> MutexGuard<'_, Shard> {
        locked(&self.channels[hash as usize % SHARDS])
    }

    /// One after the other, each locked while it is looked at.
    pub(super) fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.channels.iter().map(locked)
    }

    pub(super) fn windows(&self) -> &Windows {
        &self.windows
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
