//! Records a subscriber's events and tracks its progress.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::log::{ChannelNumber, LogEvent, PublisherNumber, SubscriberLog};

#[derive(Default)]
pub struct Recorder {
    pub seen: SubscriberLog,
    /// Channels subscribed on the current connection.
    live: HashSet<ChannelNumber>,
    /// The highest number received of each channel and publisher.
    newest: HashMap<(ChannelNumber, PublisherNumber), u64>,
}

impl Recorder {
    pub fn new(name: String) -> Self {
        Self { seen: SubscriberLog { name, ..SubscriberLog::default() }, ..Self::default() }
    }

    pub fn record(&mut self, event: LogEvent) {
        match &event {
            LogEvent::Publication { channel, publisher, number, .. } => {
                let newest = self.newest.entry((*channel, *publisher)).or_default();
                *newest = (*newest).max(*number);
            }
            LogEvent::Subscribed { channel, .. } => {
                self.live.insert(*channel);
            }
            LogEvent::Closed { .. } => self.live.clear(),
            _ => {}
        }
        self.seen.events.push((Instant::now(), event));
    }

    /// Whether all of the channels are subscribed.
    pub fn is_subscribed(&self, channels: &[ChannelNumber]) -> bool {
        channels.iter().all(|channel| self.live.contains(channel))
    }

    /// Whether this number of the publisher, or a later one, was received.
    pub fn has_received(
        &self,
        channel: ChannelNumber,
        publisher: PublisherNumber,
        number: u64,
    ) -> bool {
        self.newest.get(&(channel, publisher)).is_some_and(|it| *it >= number)
    }
}
