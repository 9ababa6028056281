//! The busiest channels of this node, for finding the cause of load.
//!
//! Traffic is counted continuously ([`ChannelTraffic`](super::channel_traffic::ChannelTraffic)); subscribers
//! are counted by iterating over the channels.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::channel_traffic::{BusyChannel, TrafficMeasure};
use super::channels::Channels;
use super::shard::ChannelCount;

/// The busiest channels, the busiest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busiest {
    pub channels: Vec<BusyChannel>,
    /// The sum over all channels, exact.
    pub total: u64,
    /// The time that the counts cover.
    pub covered: Duration,
}

/// Returns None if traffic is not counted.
pub fn busiest(channels: &Channels, by: TrafficMeasure, channels_max: usize) -> Option<Busiest> {
    let now = Instant::now();
    let window = channels.windows().number(now);
    let (mut busiest, mut total) = (Vec::new(), 0u64);
    for mut shard in channels.shards() {
        let traffic = shard.traffic();
        if !traffic.is_on() {
            return None;
        }
        let (busy, all) = traffic.busy(by, window);
        busiest.extend(busy);
        total = total.saturating_add(all);
    }
    busiest.sort_unstable_by(|a, b| (b.count, &a.channel).cmp(&(a.count, &b.channel)));
    busiest.truncate(channels_max);
    Some(Busiest { channels: busiest, total, covered: channels.windows().covered(now) })
}

/// The channels with the most local subscribers, in descending order, and the number of all subscriptions.
pub fn most_subscribed(channels: &Channels, channels_max: usize) -> (Vec<ChannelCount>, usize) {
    // The heap keeps the smallest of the candidates on top. A node may have a million channels, so they are
    // not all sorted.
    let (mut most, mut total) = (BinaryHeap::new(), 0);
    for shard in channels.shards() {
        for (channel, subscribers) in shard.subscribed() {
            total += subscribers;
            let least = most.peek().map_or(0, |Reverse((least, _))| *least);
            if most.len() < channels_max || subscribers > least {
                most.push(Reverse((subscribers, channel.clone())));
            }
            if most.len() > channels_max {
                most.pop();
            }
        }
    }
    let count = |Reverse((subscribers, channel))| ChannelCount { channel, subscribers };
    let mut most: Vec<_> = most.into_iter().map(count).collect();
    most.sort_unstable_by(|a, b| (b.subscribers, &a.channel).cmp(&(a.subscribers, &b.channel)));
    (most, total)
}
