//! The channels that sessions of this node use: plain data in shards, each behind a lock that is held
//! briefly.

use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, Ordering};

use super::channel_cursor::ChannelCursor;
use super::channel_traffic::{ChannelTraffic, Windows};
use super::lease_watch::LeaseWatch;
use super::shard::{ChannelCount, ChannelShard, LockedChannel};
use super::subscribers::{Subscriber, Subscribers};
use crate::broker::{Broker, Receipt};
use crate::publication::{Channel, Position};
use crate::rules::Rules;
use crate::sharded::Sharded;

/// The channels of this node, and their rules.
pub struct Channels {
    shards: Sharded<ChannelShard>,
    /// The number of the next subscription, from 1. A subscription is removed and delivered to by its number,
    /// so that it is never mistaken for another one.
    subscriptions: AtomicU64,
    rules: Rules,
    windows: Windows,
    leases: LeaseWatch,
}

impl Channels {
    pub fn new(rules: Rules) -> Self {
        Self {
            shards: Sharded::default(),
            subscriptions: AtomicU64::new(1),
            rules,
            windows: Windows::default(),
            leases: LeaseWatch::default(),
        }
    }

    /// Starts to count the channels' traffic, with about `counters` counters, spread evenly over the shards.
    pub fn count_with(&mut self, counters: usize) {
        for mut shard in self.shards.each() {
            shard
                .count_with(ChannelTraffic::new(counters.div_ceil(Sharded::<ChannelShard>::COUNT)));
        }
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The runs whose leases this node checks.
    pub fn leases(&self) -> &LeaseWatch {
        &self.leases
    }

    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    pub fn hash(&self, channel: &str) -> u64 {
        self.shards.hash(channel)
    }

    pub fn shard(&self, channel: &str) -> MutexGuard<'_, ChannelShard> {
        self.shards.of(channel)
    }

    /// The shard for a channel name with this hash.
    pub fn shard_of(&self, hash: u64) -> MutexGuard<'_, ChannelShard> {
        self.shards.of_hash(hash)
    }

    /// The shards one after the other, each locked while the caller holds it.
    pub fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, ChannelShard>> {
        self.shards.each()
    }

    /// Calls `look` with the channel's cursor while its shard is locked. None: no session uses the channel,
    /// or it keeps no history.
    pub fn with_cursor<R>(
        &self,
        channel: &Channel,
        look: impl FnOnce(&mut ChannelCursor, &Subscribers) -> R,
    ) -> Option<R> {
        let mut shard = self.shard(channel.as_str());
        let locked = shard.lock_channel(channel.as_str())?;
        Some(look(locked.cursor?, locked.subscribers))
    }

    /// Calls `look` with the channel while its shard is locked. None: no session uses the channel.
    pub fn with_channel<R>(
        &self,
        channel: &Channel,
        look: impl FnOnce(LockedChannel<'_>) -> R,
    ) -> Option<R> {
        self.shard(channel.as_str()).lock_channel(channel.as_str()).map(look)
    }

    /// Calls `report` with the channel's position while no publication of it is being delivered. Returns false,
    /// without the call, if one is.
    pub fn when_settled(&self, channel: &Channel, report: impl FnOnce(Option<Position>)) -> bool {
        let mut shard = self.shard(channel.as_str());
        let locked = shard.lock_channel(channel.as_str());
        // A delivery takes the channel's lock when it starts, and holds a snapshot until it ends.
        if locked.as_ref().is_some_and(|locked| locked.subscribers.is_in_delivery()) {
            return false;
        }
        let position = locked.and_then(|locked| {
            // The texts that are not yet delivered follow this position.
            let open_after = locked.rollup.and_then(|rollup| rollup.open_after());
            open_after.or(locked.cursor.and_then(|cursor| cursor.last()))
        });
        report(position);
        true
    }

    /// Drops recent publications from which no client has resumed for a while.
    pub fn sweep(&self) {
        for mut shard in self.shards() {
            for cursor in shard.cursors() {
                if cursor.positions.recent().is_some_and(|recent| !recent.trim_memory()) {
                    cursor.positions.drop_recent();
                }
            }
        }
    }

    /// Adds a claim on the channel and subscribes the broker to it.
    pub fn add_interest(&self, channel: &Channel, broker: &dyn Broker) -> Receipt<()> {
        let mut shard = self.shard(channel.as_str());
        // Looked up under the lock, because new rules are applied shard by shard.
        let policy = self.rules.of(channel.as_str());
        shard.add_interest(channel, policy);
        self.leases.add(channel, policy);
        // Under the lock, so that the broker gets subscribes and unsubscribes in the order of first and last
        // claims.
        broker.subscribe(channel)
    }

    pub fn remove_interest(&self, channel: &Channel, broker: &dyn Broker) {
        let mut shard = self.shard(channel.as_str());
        if shard.remove_interest(channel) {
            self.leases.remove(channel);
            broker.unsubscribe(channel);
        }
    }

    /// Adds a subscriber and returns the subscription's number. Calls `on_locked` with it under the lock, before
    /// any publication can be delivered to it.
    pub fn add_subscriber(
        &self,
        channel: &Channel,
        subscriber: Subscriber,
        on_locked: impl FnOnce(Option<&mut ChannelCursor>, u64),
    ) -> u64 {
        let mut shard = self.shard(channel.as_str());
        // Under the lock, so that a channel's subscribers are in the order of their numbers.
        let number = self.subscriptions.fetch_add(1, Ordering::Relaxed);
        let locked = shard.lock_channel(channel.as_str());
        let cursor = locked.and_then(|LockedChannel { subscribers, cursor, rollup, .. }| {
            // What has arrived so far is in the new subscriber's backlog or before its start.
            if let Some(rollup) = rollup {
                rollup.cut(subscribers);
            }
            cursor
        });
        on_locked(cursor, number);
        subscriber.outbound.begin_subscription(number);
        shard.add_subscriber(channel, number, subscriber);
        number
    }

    /// The subscriber with this subscription's number.
    pub fn subscriber(&self, channel: &Channel, number: u64) -> Option<Subscriber> {
        self.with_channel(channel, |locked| locked.subscribers.get(number).cloned()).flatten()
    }

    /// Sets whether the subscriber with this subscription's number gets private publications.
    pub fn set_reads_private(&self, channel: &Channel, number: u64, reads_private: bool) {
        self.shard(channel.as_str()).set_reads_private(channel, number, reads_private);
    }

    /// Removes a subscriber, for [`Registry::remove_subscriber`](super::registry::Registry). Returns also whether the
    /// channel holds nothing for it.
    pub fn remove_subscriber(&self, channel: &Channel, number: u64) -> (Option<Subscriber>, bool) {
        let mut shard = self.shard(channel.as_str());
        let is_settled = shard.lock_channel(channel.as_str()).is_none_or(|locked| {
            locked.cursor.is_none_or(|cursor| cursor.is_live())
                && locked.rollup.is_none_or(|rollup| rollup.is_idle())
        });
        (shard.remove_subscriber(channel, number), is_settled)
    }

    /// The channels with local subscribers, sorted by name.
    pub fn counts(&self) -> Vec<ChannelCount> {
        let mut all: Vec<_> = self.shards().flat_map(|shard| shard.counts()).collect();
        all.sort_by(|a, b| a.channel.cmp(&b.channel));
        all
    }

    /// The numbers of channels and of subscriptions.
    pub fn totals(&self) -> (usize, usize) {
        let totals = self.shards().map(|shard| shard.totals());
        totals.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
    }
}
