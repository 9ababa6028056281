//! Which channels of this node are the busiest: for somebody who asks at night what is so hot.
//!
//! Publications and bytes are counted where a publication finds its subscribers, under the lock that is held
//! there anyway, by the hash that is known there anyway; subscribers by walking the channels. So there are only
//! channels that somebody here listens to. What is read from history for who comes back is not counted.
//!
//! Each of `telemetry.top_channels` counters costs at most 1.3 KB, four times a name of 255 bytes with its
//! numbers: for two measures, in two windows. It is no memory before there is a channel to count.

mod sketch;
mod tally;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

pub use self::tally::Tally;
use super::registry::{ChannelCount, Registry};

/// What is told covers the window that runs and the whole one before.
const WINDOW: Duration = Duration::from_secs(30);

/// What channels are busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Publications to channels that somebody here listens to.
    Publications,
    /// Bytes of their payloads, once for each subscriber: what the node has to send.
    Bytes,
}

/// A busy channel: the truth is `count`, or less by at most `error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    pub channel: String,
    pub count: u64,
    pub error: u64,
}

/// The busiest channels, the busiest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busiest {
    pub channels: Vec<Busy>,
    /// Of all channels, exactly.
    pub total: u64,
    /// The time that was counted.
    pub covered: Duration,
}

/// Numbers time's windows, all shards alike.
#[derive(Debug)]
pub struct Windows(Instant);

impl Default for Windows {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Windows {
    pub fn number(&self, now: Instant) -> u64 {
        now.duration_since(self.0).as_secs() / WINDOW.as_secs()
    }

    /// How long this window and the one before have lasted so far.
    fn covered(&self, now: Instant) -> Duration {
        let since_start = now.duration_since(self.0);
        let before = self.number(now).saturating_sub(1).saturating_mul(WINDOW.as_secs());
        since_start.saturating_sub(Duration::from_secs(before))
    }
}

impl Registry {
    /// None: nothing is counted.
    pub fn busiest(&self, by: By, channels_max: usize) -> Option<Busiest> {
        let now = Instant::now();
        let window = self.windows().number(now);
        let (mut channels, mut total) = (Vec::new(), 0u64);
        for mut shard in self.shards() {
            let tally = shard.tally();
            if !tally.is_on() {
                return None;
            }
            let (busy, all) = tally.busy(by, window);
            channels.extend(busy);
            total = total.saturating_add(all);
        }
        channels.sort_unstable_by(|a, b| (b.count, &a.channel).cmp(&(a.count, &b.channel)));
        channels.truncate(channels_max);
        Some(Busiest { channels, total, covered: self.windows().covered(now) })
    }

    /// The channels with the most local subscribers, those with the most first; and how many subscriptions
    /// all channels have.
    pub fn most_subscribed(&self, channels_max: usize) -> (Vec<ChannelCount>, usize) {
        // The least of those that are kept is on top. A node may have a million channels.
        let (mut most, mut total) = (BinaryHeap::new(), 0);
        for shard in self.shards() {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_covered_grows_to_two_windows_and_falls_back_to_one() {
        let windows = Windows::default();
        let at = |seconds| windows.0 + Duration::from_secs(seconds);
        for (seconds, number, covered) in
            [(0, 0, 0), (29, 0, 29), (30, 1, 30), (59, 1, 59), (60, 2, 30), (100, 3, 40)]
        {
            assert_eq!(windows.number(at(seconds)), number);
            assert_eq!(windows.covered(at(seconds)), Duration::from_secs(covered));
        }
    }
}
