//! The recent traffic of one shard's channels. Plain data; the caller holds the shard's lock.
//!
//! A publication is counted when the registry looks up its subscribers, under the lock that is held and with
//! the hash that is computed there anyway. So only channels with local subscribers are counted. Publications
//! read from history for resuming clients are not counted.
//!
//! Each of the `telemetry.top_channels` counters costs at most 1.3 KB: four times (two measures, two windows)
//! a name of 255 bytes with its numbers. Memory is allocated with the first counted channel.

mod sketch;
mod windows;

use std::mem::swap;

use self::sketch::Sketch;
pub use self::windows::Windows;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficMeasure {
    /// Publications to channels that have local subscribers.
    Publications,
    /// Their payload bytes times the number of local subscribers: what the node has to send.
    Bytes,
}

/// A busy channel. The true value is between `count - error` and `count`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusyChannel {
    pub channel: String,
    pub count: u64,
    pub error: u64,
}

/// The counters of two windows: the current one and the complete one before it.
#[derive(Debug, Default)]
pub struct ChannelTraffic {
    /// The number of counters of each sketch. 0: nothing is counted.
    counters_max: usize,
    window: u64,
    now: Sketches,
    before: Sketches,
}

#[derive(Debug, Default)]
struct Sketches {
    publications: Sketch,
    bytes: Sketch,
}

impl ChannelTraffic {
    pub fn new(counters_max: usize) -> Self {
        Self { counters_max, ..Self::default() }
    }

    pub fn is_on(&self) -> bool {
        self.counters_max > 0
    }

    /// Counts one publication. `hash`: of the channel's name; `bytes`: for all its subscribers together.
    pub fn count(&mut self, window: u64, hash: u64, name: &str, bytes: u64) {
        self.begin_window(window);
        self.now.publications.add(hash, name, 1, self.counters_max);
        if bytes > 0 {
            self.now.bytes.add(hash, name, bytes, self.counters_max);
        }
    }

    /// All counters of the current and the previous window, unordered, and their total.
    pub fn busy(&mut self, by: TrafficMeasure, window: u64) -> (Vec<BusyChannel>, u64) {
        self.begin_window(window);
        let (now, before) = (self.now.of(by), self.before.of(by));
        let gone = before.counters().filter(|it| !now.has(it.hash));
        let all = now.counters().chain(gone).map(|it| {
            let (count, error) = now.of(it.hash, self.counters_max);
            let (count_before, error_before) = before.of(it.hash, self.counters_max);
            BusyChannel {
                channel: it.name.to_owned(),
                count: count.saturating_add(count_before),
                error: error.saturating_add(error_before),
            }
        });
        (all.collect(), now.total().saturating_add(before.total()))
    }

    /// Starts the window, unless it is the current one.
    fn begin_window(&mut self, window: u64) {
        if window <= self.window {
            return;
        }
        swap(&mut self.now, &mut self.before);
        self.now.clear();
        if window > self.window + 1 {
            self.before.clear();
        }
        self.window = window;
    }
}

impl Sketches {
    fn of(&self, by: TrafficMeasure) -> &Sketch {
        match by {
            TrafficMeasure::Publications => &self.publications,
            TrafficMeasure::Bytes => &self.bytes,
        }
    }

    fn clear(&mut self) {
        self.publications.clear();
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(
        traffic: &mut ChannelTraffic,
        by: TrafficMeasure,
        window: u64,
    ) -> Vec<(String, u64, u64)> {
        let (mut busy, total) = traffic.busy(by, window);
        busy.sort_by(|a, b| a.channel.cmp(&b.channel));
        assert_eq!(total, busy.iter().map(|it| it.count - it.error).sum::<u64>());
        busy.into_iter().map(|it| (it.channel, it.count, it.error)).collect()
    }

    #[test]
    fn traffic_counts_cover_the_current_and_the_previous_window_only() {
        let mut traffic = ChannelTraffic::new(4);
        traffic.count(0, 1, "a", 10);
        traffic.count(0, 2, "b", 0);
        traffic.count(1, 1, "a", 30);
        let a = |count, of| (String::from("a"), count, of);
        assert_eq!(
            counted(&mut traffic, TrafficMeasure::Publications, 1),
            [a(2, 0), ("b".into(), 1, 0)]
        );
        assert_eq!(counted(&mut traffic, TrafficMeasure::Bytes, 1), [a(40, 0)], "b had no bytes");
        assert_eq!(counted(&mut traffic, TrafficMeasure::Publications, 2), [a(1, 0)]);
        assert_eq!(counted(&mut traffic, TrafficMeasure::Publications, 3), []);
        traffic.count(4, 1, "a", 10);
        assert_eq!(
            counted(&mut traffic, TrafficMeasure::Publications, 7),
            [],
            "some windows passed in silence"
        );
    }

    #[test]
    fn traffic_that_a_window_may_have_missed_is_part_of_the_error() {
        let mut traffic = ChannelTraffic::new(1);
        traffic.count(0, 1, "a", 1);
        traffic.count(0, 1, "a", 1);
        traffic.count(1, 2, "b", 1);
        let (busy, total) = traffic.busy(TrafficMeasure::Publications, 1);
        let of = |name: &str| {
            let found = busy.iter().find(|it| it.channel == name).unwrap();
            (found.count, found.error)
        };
        assert_eq!(of("b"), (3, 2), "one, and up to two of the window before");
        assert_eq!(of("a"), (3, 1), "two, and up to one of this window");
        assert_eq!(total, 3);
    }

    #[test]
    fn a_late_publication_counts_in_the_current_window() {
        let mut traffic = ChannelTraffic::new(1);
        traffic.count(5, 1, "a", 1);
        traffic.count(4, 1, "a", 1);
        assert_eq!(counted(&mut traffic, TrafficMeasure::Publications, 5), [("a".into(), 2, 0)]);
    }
}
