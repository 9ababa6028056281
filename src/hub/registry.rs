//! The node's channels and connections, and the handling of the broker's events.

use std::sync::Arc;
use std::time::Instant;

use super::busiest::{self, Busiest};
use super::channel_cursor::{ArrivalOutcome, ChannelCursor};
use super::channel_event::ChannelEvent;
use super::channel_traffic::TrafficMeasure;
use super::channels::Channels;
use super::connections::Connections;
use super::fan_out::FanOut;
use super::pattern_delivery::PatternDelivery;
use super::patterns::{DirectDelivery, Patterns};
use super::recovery_queue::{RecoveryQueue, RecoveryTask};
use super::rollup_delivery::RollupDelivery;
use super::rollup_timers::RollupTimers;
use super::shard::ChannelCount;
use crate::broker::{Broker, BrokerEvent, Sink};
use crate::outbound::Outbound;
use crate::protocol::Push;
use crate::publication::{Channel, Position, Publication};
use crate::rules::Rules;
use crate::telemetry;

/// Why a session that unsubscribes from a channel, and whose pattern shows it from then on, may miss publications.
const UNSETTLED: &str = "catching_up";

/// The channels and connections of this node. Each part guards its own data; what needs several parts is a
/// method here or a function in a file above: [`resuming`](super::resuming) adds subscribers,
/// [`recovery`](super::recovery) reads what a channel has missed.
pub struct Registry {
    /// Each shard is locked for a few lines at a time.
    pub(super) channels: Channels,
    pub(super) connections: Connections,
    /// Holds no lock of the other parts while it delivers.
    pub(super) fan_out: FanOut,
    pub(super) patterns: Patterns,
    /// The histories to read, until a task of `recovery` takes them.
    pub(super) recovery_queue: RecoveryQueue,
    /// When to deliver what channels have joined, until the task of `rollup_task` takes it.
    pub(super) rollup_timers: RollupTimers,
}

impl Registry {
    pub fn new(rules: Rules) -> Self {
        Self {
            patterns: Patterns::new(rules.clone()),
            channels: Channels::new(rules),
            connections: Connections::default(),
            fan_out: FanOut::default(),
            recovery_queue: RecoveryQueue::default(),
            rollup_timers: RollupTimers::default(),
        }
    }

    /// Counts the channels' traffic with about `counters` counters. 0: does not count.
    pub fn counting(mut self, counters: usize) -> Self {
        self.channels.count_with(counters);
        self
    }

    /// Starts the flushers on the current runtime.
    pub fn start_flushers(&self) {
        self.fan_out.start_flushers();
    }

    /// The function that takes the broker's events.
    pub fn sink(self: Arc<Self>) -> Sink {
        Arc::new(move |event| match event {
            BrokerEvent::Publication { channel, publication, more } => {
                self.deliver(channel, publication, more);
            }
            BrokerEvent::Subscribed { channel, interrupted: None } => self.open(channel),
            BrokerEvent::Subscribed { channel, interrupted: Some(reason) } => {
                self.interrupt(channel, reason);
            }
            BrokerEvent::Gap { channel, reason } => {
                self.push_gap(channel.as_str(), reason);
                self.pattern_delivery().push_gap(channel.as_str(), reason);
            }
            BrokerEvent::PatternsInterrupted { reason } => {
                self.pattern_delivery().push_gap_of_all(reason);
            }
            BrokerEvent::Presence { channel, user, change, info } => {
                self.push_to_subscribers(channel, &Push::Presence { channel, user, change, info });
            }
            // Other modules handle revocations and the fleet.
            BrokerEvent::Revoked { .. }
            | BrokerEvent::RevocationsRead { .. }
            | BrokerEvent::Announced(_) => {}
        })
    }

    /// Delivers a publication of the broker to the channel's subscribers, and to those of patterns that match it.
    fn deliver(&self, channel: &str, publication: Publication, more: bool) {
        let received = Instant::now();
        let Some(matches) = self.patterns.matching(channel) else {
            self.deliver_directly(channel, publication, more, received, None);
            return;
        };
        let mut direct = DirectDelivery::default();
        self.deliver_directly(channel, publication.clone(), more, received, Some(&mut direct));
        self.pattern_delivery().deliver(channel, &matches, &publication, &direct);
    }

    fn pattern_delivery(&self) -> PatternDelivery<'_> {
        let Self { patterns, channels, fan_out, .. } = self;
        PatternDelivery { patterns, channels, fan_out }
    }

    /// Ends a session's subscription to a channel.
    pub(super) fn remove_subscriber(&self, channel: &Channel, number: u64) {
        let (removed, is_settled) = self.channels.remove_subscriber(channel, number);
        let Some(subscriber) = removed else { return };
        subscriber.outbound.end_subscription(number);
        let session = subscriber.outbound.session();
        // What the channel still held for the subscription is not delivered to the session any more.
        if self.patterns.unsubscribed(session, channel, number)
            && !is_settled
            && let Some(frame) =
                subscriber.format.push(&Push::Gap { channel: channel.as_str(), reason: UNSETTLED })
        {
            subscriber.outbound.push_own_or_close(frame);
        }
    }

    /// Delivers it to the channel's subscribers, or holds it while the channel catches up. Fills `direct` with them.
    fn deliver_directly(
        &self,
        channel: &str,
        publication: Publication,
        more: bool,
        received: Instant,
        direct: Option<&mut DirectDelivery>,
    ) {
        let hash = self.channels.hash(channel);
        let mut shard = self.channels.shard_of(hash);
        let Some(locked) = shard.lock_channel(channel) else { return };
        if locked.traffic.is_on() {
            let bytes = publication.payload.len().saturating_mul(locked.subscribers.len());
            let window = self.channels.windows().number(received);
            locked.traffic.count(window, hash, channel, bytes as u64);
        }
        let mut ended = None;
        if let Some(direct) = direct {
            direct.subscribers = Some(locked.subscribers.snapshot());
            ended = Some(&mut direct.ended);
        }
        let publication = match locked.cursor {
            None => {
                *locked.last_position = publication.position.or(*locked.last_position);
                publication
            }
            Some(cursor) => match cursor.receive(publication) {
                ArrivalOutcome::Deliver(publication) => publication,
                ArrivalOutcome::Nothing => return,
                ArrivalOutcome::Read(read_number) => {
                    drop(shard);
                    if let Ok(channel) = Channel::new(channel) {
                        self.recovery_queue.add(RecoveryTask::CatchUp(channel, read_number, 0));
                    }
                    return;
                }
            },
        };
        if let Some(rollup) = locked.rollup {
            let event = ChannelEvent::Publication(publication);
            let step = rollup.add(event, locked.subscribers, received);
            drop(shard);
            return self.rollups().take_step(channel, step);
        }
        let (subscribers, slow) = (locked.subscribers.snapshot(), locked.delivery.into());
        drop(shard);
        let has_ended =
            self.fan_out.deliver(channel, &subscribers, slow, &publication, more, received);
        if let Some(ended) = ended {
            *ended = has_ended;
        }
    }

    pub(super) fn rollups(&self) -> RollupDelivery<'_> {
        let Self { channels, fan_out, rollup_timers: timers, .. } = self;
        RollupDelivery { channels, fan_out, timers }
    }

    /// Requests the history's end, once the broker is subscribed to the channel.
    pub(super) fn open(&self, channel: &Channel) {
        let read_number = self.channels.with_cursor(channel, |cursor, _| cursor.open()).flatten();
        if let Some(read_number) = read_number {
            self.recovery_queue.add(RecoveryTask::Open(channel.clone(), read_number, 0));
        }
    }

    /// The broker is subscribed again after an interruption: requests what was missed, or sends a gap if the
    /// channel keeps no history.
    fn interrupt(&self, channel: &Channel, reason: &'static str) {
        match self.channels.with_cursor(channel, |cursor, _| cursor.interrupt()) {
            Some(read_number) => {
                self.recovery_queue.add(RecoveryTask::Open(channel.clone(), read_number, 0));
            }
            None => self.push_gap(channel.as_str(), reason),
        }
    }

    /// Reads what the channel has missed if it has not delivered this position.
    pub(super) fn catch_up_to(&self, channel: &Channel, position: Position) {
        let is_behind = |cursor: &ChannelCursor| cursor.is_live() && cursor.last() < Some(position);
        let read_number = self
            .channels
            .with_cursor(channel, |cursor, _| is_behind(cursor).then(|| cursor.interrupt()));
        if let Some(read_number) = read_number.flatten() {
            self.recovery_queue.add(RecoveryTask::Open(channel.clone(), read_number, 0));
        }
    }

    fn push_gap(&self, channel: &str, reason: &'static str) {
        let subscribers = {
            let mut shard = self.channels.shard(channel);
            let Some(locked) = shard.lock_channel(channel) else { return };
            // The next publication may not follow the last one.
            *locked.last_position = None;
            if let Some(rollup) = locked.rollup {
                let event = ChannelEvent::Gap(reason);
                let step = rollup.add(event, locked.subscribers, Instant::now());
                drop(shard);
                return self.rollups().take_step(channel, step);
            }
            locked.subscribers.snapshot()
        };
        self.fan_out.push_to_all(&subscribers, &Push::Gap { channel, reason });
    }

    fn push_to_subscribers(&self, channel: &str, push: &Push<'_>) {
        let Some(subscribers) = self.channels.shard(channel).subscribers(channel) else { return };
        self.fan_out.push_to_all(&subscribers, push);
    }

    /// Applies the current rules to the channels, and notifies every session.
    pub(super) fn follow_rules(&self, broker: &dyn Broker) {
        for mut shard in self.channels.shards() {
            for change in shard.apply_rules(self.channels.rules()) {
                let policy = self.channels.rules().of(change.channel.as_str());
                self.channels.leases().add(&change.channel, policy);
                if change.presence {
                    // Subscribes again, this time with presence changes. The receipt is not needed.
                    drop(broker.subscribe(&change.channel));
                }
                let cursor =
                    shard.lock_channel(change.channel.as_str()).and_then(|locked| locked.cursor);
                if let Some(read_number) =
                    cursor.filter(|_| change.history_started).and_then(ChannelCursor::open)
                {
                    self.recovery_queue.add(RecoveryTask::Open(change.channel, read_number, 0));
                }
            }
        }
        self.notify_all();
    }

    /// Makes every session check whether it may continue.
    pub fn notify_all(&self) {
        self.connections().iter().for_each(|connection| connection.notify());
    }

    /// All connections, unordered.
    pub fn connections(&self) -> Vec<Arc<Outbound>> {
        self.connections.all()
    }

    pub fn connection_count(&self) -> usize {
        self.connections.count()
    }

    /// How many local subscribers the channel has.
    pub fn subscribers(&self, channel: &Channel) -> usize {
        self.channels.with_channel(channel, |locked| locked.subscribers.len()).unwrap_or(0)
    }

    /// The channels with local subscribers, sorted by name.
    pub fn channels(&self) -> Vec<ChannelCount> {
        self.channels.counts()
    }

    /// The channels with the most recent traffic, in descending order. None: traffic is not counted.
    pub fn busiest(&self, by: TrafficMeasure, channels_max: usize) -> Option<Busiest> {
        busiest::busiest(&self.channels, by, channels_max)
    }

    /// The channels with the most local subscribers, in descending order, and the number of all
    /// subscriptions.
    pub fn most_subscribed(&self, channels_max: usize) -> (Vec<ChannelCount>, usize) {
        busiest::most_subscribed(&self.channels, channels_max)
    }

    /// The gauges for a scrape of the metrics.
    pub fn levels(&self) -> telemetry::Levels {
        let (channels, subscriptions) = self.channels.totals();
        telemetry::Levels {
            channels,
            subscriptions,
            patterns: self.patterns.len(),
            outbound_queue_bytes: self.connections.bytes(),
        }
    }
}
