//! The channels that somebody on this node wants: plain data behind many short locks.

use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, Ordering};

use super::channel_cursor::ChannelCursor;
use super::channel_traffic::{ChannelTraffic, Windows};
use super::shard::{ChannelCount, ChannelShard};
use super::subscribers::{Subscriber, Subscribers};
use crate::broker::{Broker, Receipt};
use crate::publication::{Channel, Position};
use crate::rules::Rules;
use crate::sharded::Sharded;

/// The channels of this node, and the rules they go by.
pub struct Channels {
    shards: Sharded<ChannelShard>,
    /// Numbers subscriptions, from 1, so that only the very same one is removed and delivered to.
    subscriptions: AtomicU64,
    rules: Rules,
    windows: Windows,
}

impl Channels {
    pub fn new(rules: Rules) -> Self {
        Self {
            shards: Sharded::default(),
            subscriptions: AtomicU64::new(1),
            rules,
            windows: Windows::default(),
        }
    }

    /// From here on it is counted what they carry, with about so many counters: as many for each shard.
    pub fn count_with(&mut self, counters: usize) {
        for mut shard in self.shards.each() {
            shard
                .count_with(ChannelTraffic::new(counters.div_ceil(Sharded::<ChannelShard>::COUNT)));
        }
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
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

    /// The shard of the channel whose name has this hash.
    pub fn shard_of(&self, hash: u64) -> MutexGuard<'_, ChannelShard> {
        self.shards.of_hash(hash)
    }

    /// One after the other, each locked while it is looked at.
    pub fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, ChannelShard>> {
        self.shards.each()
    }

    /// Looks at a channel's standing while its lock is held. None: nobody wants it, or it keeps no
    /// history.
    pub fn with_tail<R>(
        &self,
        channel: &Channel,
        look: impl FnOnce(&mut ChannelCursor, &Subscribers) -> R,
    ) -> Option<R> {
        let mut shard = self.shard(channel.as_str());
        let wanted = shard.wanted(channel.as_str())?;
        Some(look(wanted.tail?, wanted.subscribers))
    }

    /// Calls `say` with the channel's position while no publication of it is on its way to subscribers. False:
    /// one is, so `say` was not called.
    pub fn when_settled(&self, channel: &Channel, say: impl FnOnce(Option<Position>)) -> bool {
        let mut shard = self.shard(channel.as_str());
        let wanted = shard.wanted(channel.as_str());
        // A delivery takes the channel's lock when it begins, and holds a snapshot until it ends.
        if wanted.as_ref().is_some_and(|wanted| wanted.subscribers.is_walked()) {
            return false;
        }
        say(wanted.and_then(|wanted| wanted.tail).and_then(|tail| tail.last()));
        true
    }

    /// Drops what no client has resumed from for a while.
    pub fn sweep(&self) {
        for mut shard in self.shards() {
            for tail in shard.tails() {
                if tail.cursor.recent().is_some_and(|recent| !recent.is_worth_keeping()) {
                    tail.cursor.forget_recent();
                }
            }
        }
    }

    /// Counts one more claim on the channel and asks the broker for it.
    pub fn add_interest(&self, channel: &Channel, broker: &dyn Broker) -> Receipt<()> {
        let mut shard = self.shard(channel.as_str());
        // Looked up under the lock: new rules go through the shards one by one.
        shard.add_interest(channel, self.rules.of(channel.as_str()));
        // Under the lock, so that the broker hears of first and last claims in their order.
        broker.subscribe(channel)
    }

    pub fn remove_interest(&self, channel: &Channel, broker: &dyn Broker) {
        let mut shard = self.shard(channel.as_str());
        if shard.remove_interest(channel) {
            broker.unsubscribe(channel);
        }
    }

    /// Returns the subscription's number. `greet` is called while nothing else can come.
    pub fn add_subscriber(
        &self,
        channel: &Channel,
        subscriber: Subscriber,
        greet: impl FnOnce(Option<&mut ChannelCursor>),
    ) -> u64 {
        let mut shard = self.shard(channel.as_str());
        greet(shard.wanted(channel.as_str()).and_then(|wanted| wanted.tail));
        // Under the lock, so that a channel's subscribers stand in the order of their numbers.
        let number = self.subscriptions.fetch_add(1, Ordering::Relaxed);
        subscriber.outbound.begin(number);
        shard.add_subscriber(channel, number, subscriber);
        number
    }

    pub fn remove_subscriber(&self, channel: &Channel, number: u64) {
        let removed = self.shard(channel.as_str()).remove_subscriber(channel, number);
        if let Some(subscriber) = removed {
            subscriber.outbound.end(number);
        }
    }

    /// Channels with local subscribers, by name.
    pub fn counts(&self) -> Vec<ChannelCount> {
        let mut all: Vec<_> = self.shards().flat_map(|shard| shard.counts()).collect();
        all.sort_by(|a, b| a.channel.cmp(&b.channel));
        all
    }

    /// Channels, and subscriptions to them.
    pub fn totals(&self) -> (usize, usize) {
        let totals = self.shards().map(|shard| shard.totals());
        totals.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
    }
}
