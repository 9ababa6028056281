//! Checks the delivery guarantee from the logs alone: no loss without a `gap`.
//!
//! One subscriber's log of one channel consists of *segments*, each started by a `subscribed`, a `gap` or a
//! `recovered: false`. Within a segment no acknowledged publication may be missing; between two segments the
//! subscriber knows that publications may be missing. On a channel without history a disconnection ends the
//! segment; with history it does not, unless the node reports a gap.

mod reader;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::finding::{self, is_unexpected_close, unexpected_entries};
use crate::log::{
    Channel, ChannelNumber, LogEvent, Position, PublisherLog, PublisherNumber, SubscriberLog,
};
use reader::ChannelCheck;

/// All logs of one run.
pub struct Logs<'a> {
    pub channels: &'a [Channel],
    /// By publisher.
    pub sent: &'a [PublisherLog],
    pub seen: &'a [SubscriberLog],
    /// Times in reports are relative to this.
    pub started: Instant,
    /// Redis lost its data, or may have: channels with history may then have gaps as well.
    pub history_lost: bool,
}

impl Logs<'_> {
    fn line(&self, when: Instant, event: &LogEvent) -> String {
        event.line(when.duration_since(self.started), self.channels)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogViolation {
    /// Acknowledged, not received, and no gap was reported.
    Loss,
    Duplicate,
    Disorder,
    /// Any other violation of the protocol.
    Breach,
}

pub type LogFinding = finding::Finding<LogViolation>;

/// The result of a check.
#[derive(Debug, Default)]
pub struct CheckReport {
    pub findings: Vec<LogFinding>,
    pub acknowledged: usize,
    pub deliveries: usize,
    /// `gap` and `recovered: false`.
    pub gaps: usize,
    /// Gaps on channels with history.
    pub history_gaps: usize,
    /// Duplicates of publications that were sent again without a history that could detect it.
    pub allowed_repeats: usize,
}

impl CheckReport {
    pub fn count(&self, kind: LogViolation) -> usize {
        finding::count(&self.findings, kind)
    }
}

pub fn check(logs: &Logs) -> CheckReport {
    let mut report = CheckReport::default();
    let publications = logs.sent.iter().flat_map(|sent| &sent.publications);
    report.acknowledged = publications.filter(|it| it.acknowledged.is_some()).count();
    let mut places = Positions::new();
    for seen in logs.seen {
        let line = |when, event: &LogEvent| logs.line(when, event);
        let written = (seen.name.as_str(), seen.events.as_slice());
        report.findings.extend(unexpected_entries(written, &LogViolation::Breach, is_odd, line));
        // Channels that a subscriber's log does not contain are not checked.
        let channels: BTreeSet<_> = seen.events.iter().filter_map(|(_, it)| it.channel()).collect();
        for channel in channels {
            let mut reader = ChannelCheck::new(logs, seen, channel, &mut places, &mut report);
            for (at, (when, event)) in seen.events.iter().enumerate() {
                if event.channel().is_none_or(|it| it == channel) {
                    reader.read(at, *when, event);
                }
            }
            reader.end(seen.events.len());
        }
    }
    report
}

fn is_odd(event: &LogEvent) -> bool {
    match event {
        LogEvent::Unexpected(_) => true,
        LogEvent::Closed { why } => is_unexpected_close(why),
        _ => false,
    }
}

/// The first publication seen at each position: no position may have two.
type Positions = HashMap<(ChannelNumber, Position), (PublisherNumber, u64)>;
