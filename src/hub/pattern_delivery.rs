//! Delivers to the subscribers of patterns.

use std::collections::HashMap;

use super::channels::Channels;
use super::fan_out::FanOut;
use super::patterns::{DirectDelivery, PatternMatches, Patterns};
use super::subscribers::Subscriber;
use crate::close::Close;
use crate::protocol::{Encoded, Format, Push};
use crate::publication::Publication;
use crate::telemetry;

/// The parts of the registry that deliver to the subscribers of patterns.
pub struct PatternDelivery<'a> {
    pub patterns: &'a Patterns,
    pub channels: &'a Channels,
    pub fan_out: &'a FanOut,
}

impl PatternDelivery<'_> {
    /// Delivers a publication to the subscribers of patterns that match its channel.
    pub fn deliver(
        &self,
        channel: &str,
        matches: &PatternMatches,
        publication: &Publication,
        direct: &DirectDelivery,
    ) {
        let mut encoded = Encoded::new(channel, publication);
        let mut delivered = [0; Format::COUNT];
        let mut to_flush = Vec::new();
        let rules = self.channels.rules();
        matches.for_each(rules, channel, Some(publication), direct, |number, subscriber| {
            let frame = encoded.bytes(subscriber.format);
            let outbound = &subscriber.outbound;
            let is_queued = self.fan_out.push_by_pattern(outbound, number, frame, &mut to_flush);
            delivered[subscriber.format as usize] += u64::from(is_queued);
            is_queued
        });
        self.fan_out.flush(to_flush, publication.payload.len());
        telemetry::publication_delivered_by_patterns(delivered);
    }

    /// Tells the subscribers of patterns that match the channel that they may miss publications of it.
    pub fn push_gap(&self, channel: &str, reason: &'static str) {
        let Some(matches) = self.patterns.matching(channel) else { return };
        let subscribers = self.channels.shard(channel).subscribers(channel);
        let direct = DirectDelivery { subscribers, ended: Vec::new() };
        let push = Push::Gap { channel, reason };
        let (mut frames, mut to_flush) = (HashMap::new(), Vec::new());
        matches.for_each(self.channels.rules(), channel, None, &direct, |number, subscriber| {
            let frame = frames
                .entry(subscriber.format as usize)
                .or_insert_with(|| subscriber.format.push(&push));
            match frame.clone() {
                Some(frame) => {
                    let outbound = &subscriber.outbound;
                    self.fan_out.push_by_pattern(outbound, number, frame, &mut to_flush)
                }
                None => close_on_gap(subscriber),
            }
        });
        self.fan_out.flush(to_flush, 0);
    }

    /// Tells every subscriber of a pattern that publications of any of its channels may be missing.
    pub fn push_gap_of_all(&self, reason: &'static str) {
        let mut to_flush = Vec::new();
        for (number, pattern, subscriber) in self.patterns.all() {
            let gap = Push::PatternGap { pattern: pattern.as_str(), reason };
            match subscriber.format.push(&gap) {
                Some(frame) => {
                    let outbound = &subscriber.outbound;
                    self.fan_out.push_by_pattern(outbound, number, frame, &mut to_flush);
                }
                None => _ = close_on_gap(&subscriber),
            }
        }
        self.fan_out.flush(to_flush, 0);
    }
}

/// Closes the connection if its protocol has no message for a gap and asks for that.
fn close_on_gap(subscriber: &Subscriber) -> bool {
    if subscriber.closes_on_gap {
        subscriber.outbound.close(Close::Gap);
    }
    true
}
