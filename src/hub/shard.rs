//! One shard of the channels. Plain data; the caller holds the lock.

use std::collections::HashMap;
use std::time::Duration;

use super::channel_cursor::ChannelCursor;
use super::channel_traffic::ChannelTraffic;
use super::rollup::Rollup;
use super::subscribers::{Snapshot, Subscriber, Subscribers};
use crate::publication::{Channel, Position};
use crate::rules::{Delivery, Policy, Rules};
use crate::sharded::shrink;

/// The channels of one shard and their subscribers.
#[derive(Default)]
pub struct ChannelShard {
    channels: HashMap<Channel, ChannelEntry>,
    traffic: ChannelTraffic,
}

#[derive(Default)]
struct ChannelEntry {
    /// Claims on the channel: of subscribers, and of sessions about to subscribe.
    interests: usize,
    subscribers: Subscribers,
    delivery: Delivery,
    /// Some while the channel's rule keeps history, and after that until nothing is held.
    cursor: Option<Box<ChannelCursor>>,
    /// Whether the channel's rule keeps history.
    keeps_history: bool,
    /// The last position that subscribers got while there was no cursor.
    last_position: Option<Position>,
    /// Some while the channel's rule joins publications, and after that until nothing waits.
    rollup: Option<Box<Rollup>>,
}

/// A channel and its number of local subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelCount {
    pub channel: Channel,
    pub subscribers: usize,
}

/// What new rules change for a channel in use.
pub struct RuleChange {
    pub channel: Channel,
    /// Its history starts now.
    pub history_started: bool,
    pub presence: bool,
}

/// A channel in use, while its shard is locked.
pub struct LockedChannel<'a> {
    pub subscribers: &'a Subscribers,
    pub delivery: Delivery,
    pub cursor: Option<&'a mut ChannelCursor>,
    /// The last position that subscribers got while there is no cursor.
    pub last_position: &'a mut Option<Position>,
    /// Some: publications are delivered through it.
    pub rollup: Option<&'a mut Rollup>,
    /// The traffic counters of the whole shard.
    pub traffic: &'a mut ChannelTraffic,
}

impl ChannelEntry {
    /// Follows a rule that joins publications, or one that does not.
    fn set_rollup(&mut self, policy: Policy) {
        let interval = rollup_interval(policy);
        match (&mut self.rollup, interval) {
            (None, None) => {}
            (None, Some(interval)) => self.rollup = Some(Box::new(Rollup::new(interval))),
            (Some(rollup), interval) => {
                rollup.set_interval(interval.unwrap_or_default());
                self.drop_rollup();
            }
        }
    }

    /// Drops the rollup of a channel whose publications are no longer joined, once all are delivered.
    fn drop_rollup(&mut self) {
        self.rollup.take_if(|rollup| rollup.is_over());
    }

    /// Drops the cursor of a channel that keeps no history any more, once nothing is held. A later cursor
    /// continues from its last position.
    fn drop_cursor(&mut self) {
        if !self.keeps_history
            && let Some(cursor) = self.cursor.take_if(|cursor| cursor.is_live())
        {
            self.last_position = cursor.last();
        }
    }
}

/// How often the joined publications of a channel are delivered. None: each is delivered by itself.
fn rollup_interval(policy: Policy) -> Option<Duration> {
    policy.run.and_then(|run| run.merge).map(|merge| merge.rollup)
}

impl ChannelShard {
    /// The channel's current subscribers. None: no session uses the channel.
    pub fn subscribers(&self, channel: &str) -> Option<Snapshot> {
        self.channels.get(channel).map(|entry| entry.subscribers.snapshot())
    }

    /// Returns None if no session uses the channel.
    pub fn lock_channel(&mut self, channel: &str) -> Option<LockedChannel<'_>> {
        let entry = self.channels.get_mut(channel)?;
        entry.drop_cursor();
        entry.drop_rollup();
        let ChannelEntry { subscribers, delivery, cursor, last_position, rollup, .. } = entry;
        let (cursor, rollup) = (cursor.as_deref_mut(), rollup.as_deref_mut());
        let (delivery, traffic) = (*delivery, &mut self.traffic);
        Some(LockedChannel { subscribers, delivery, cursor, last_position, rollup, traffic })
    }

    /// The cursors of all channels that keep history.
    pub fn cursors(&mut self) -> impl Iterator<Item = &mut ChannelCursor> {
        self.channels.values_mut().filter_map(|entry| entry.cursor.as_deref_mut())
    }

    pub fn add_interest(&mut self, channel: &Channel, policy: Policy) {
        match self.channels.get_mut(channel) {
            Some(entry) => entry.interests += 1,
            None => {
                let mut entry = ChannelEntry {
                    interests: 1,
                    delivery: policy.delivery,
                    cursor: policy.history.map(|_| Box::default()),
                    keeps_history: policy.history.is_some(),
                    ..ChannelEntry::default()
                };
                entry.set_rollup(policy);
                self.channels.insert(channel.clone(), entry);
            }
        }
    }

    /// Applies new rules, and returns what they change for each channel.
    pub fn apply_rules(&mut self, rules: &Rules) -> Vec<RuleChange> {
        let mut changes = Vec::new();
        for (channel, entry) in &mut self.channels {
            let policy = rules.of(channel.as_str());
            entry.delivery = policy.delivery;
            entry.keeps_history = policy.history.is_some();
            entry.drop_cursor();
            entry.set_rollup(policy);
            let opened = entry.keeps_history && entry.cursor.is_none();
            if opened {
                entry.cursor = Some(Box::new(ChannelCursor::with_subscribers(entry.last_position)));
            }
            changes.push(RuleChange {
                channel: channel.clone(),
                history_started: opened,
                presence: policy.presence,
            });
        }
        changes
    }

    /// Returns true for the last claim: no session uses the channel any more.
    pub fn remove_interest(&mut self, channel: &Channel) -> bool {
        let Some(entry) = self.channels.get_mut(channel) else { return false };
        entry.interests -= 1;
        let last = entry.interests == 0;
        if last {
            self.channels.remove(channel);
            shrink(&mut self.channels);
        }
        last
    }

    /// The caller must hold a claim on the channel.
    pub fn add_subscriber(&mut self, channel: &Channel, number: u64, subscriber: Subscriber) {
        if let Some(entry) = self.channels.get_mut(channel) {
            entry.subscribers.add(number, subscriber);
        }
    }

    /// Sets whether the subscriber with this number gets private publications.
    pub fn set_reads_private(&mut self, channel: &Channel, number: u64, reads_private: bool) {
        if let Some(entry) = self.channels.get_mut(channel) {
            entry.subscribers.set_reads_private(number, reads_private);
        }
    }

    /// Returns the subscriber, because the caller must drop its frames of `latest` delivery, which are
    /// outside the queue.
    pub fn remove_subscriber(&mut self, channel: &Channel, number: u64) -> Option<Subscriber> {
        let entry = self.channels.get_mut(channel)?;
        entry.subscribers.remove(number)
    }

    pub fn counts(&self) -> Vec<ChannelCount> {
        let count = |(channel, entry): (&Channel, &ChannelEntry)| ChannelCount {
            channel: channel.clone(),
            subscribers: entry.subscribers.len(),
        };
        self.channels.iter().map(count).collect()
    }

    /// The channels that have subscribers, and how many.
    pub fn subscribed(&self) -> impl Iterator<Item = (&Channel, usize)> {
        let counts =
            self.channels.iter().map(|(channel, entry)| (channel, entry.subscribers.len()));
        counts.filter(|(_, subscribers)| *subscribers > 0)
    }

    pub fn traffic(&mut self) -> &mut ChannelTraffic {
        &mut self.traffic
    }

    /// Starts to count the channels' traffic.
    pub fn count_with(&mut self, traffic: ChannelTraffic) {
        self.traffic = traffic;
    }

    /// The numbers of channels and of subscriptions.
    pub fn totals(&self) -> (usize, usize) {
        let subscriptions = self.channels.values().map(|entry| entry.subscribers.len()).sum();
        (self.channels.len(), subscriptions)
    }
}
