//! Says from the logs alone whether the promise was kept: no gap without a gap message.
//!
//! What one subscriber saw of one channel falls into *stretches*, each begun by a `subscribed`, a `gap`
//! or a `recovered: false`. Within a stretch nothing may be missing that was acknowledged; between two
//! stretches the subscriber knows that something may be. On a channel without history the subscriber's
//! own disconnection ends the stretch; with history it does not, unless the node says so.

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
    /// What times are shown from.
    pub started: Instant,
    /// Redis lost its data, or may have: then also channels with history may have gaps.
    pub history_lost: bool,
}

impl Logs<'_> {
    fn line(&self, when: Instant, event: &LogEvent) -> String {
        event.line(when.duration_since(self.started), self.channels)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogViolation {
    /// Acknowledged, not received, and no gap was told.
    Loss,
    Duplicate,
    Disorder,
    /// Something else that the contract rules out.
    Breach,
}

pub type LogFinding = finding::Finding<LogViolation>;

/// What the logs say.
#[derive(Debug, Default)]
pub struct CheckReport {
    pub findings: Vec<LogFinding>,
    pub acknowledged: usize,
    pub deliveries: usize,
    /// `gap` and `recovered: false`.
    pub gaps: usize,
    /// Those on channels with history.
    pub history_gaps: usize,
    /// Copies of what its publisher had to send again and no history could know again.
    pub allowed_repeats: usize,
}

impl CheckReport {
    pub fn count(&self, kind: LogViolation) -> usize {
        finding::count(&self.findings, kind)
    }
}

pub fn check(logs: &Logs) -> CheckReport {
    let mut verdict = CheckReport::default();
    let publications = logs.sent.iter().flat_map(|sent| &sent.publications);
    verdict.acknowledged = publications.filter(|it| it.acknowledged.is_some()).count();
    let mut places = Positions::new();
    for seen in logs.seen {
        let line = |when, event: &LogEvent| logs.line(when, event);
        let written = (seen.name.as_str(), seen.events.as_slice());
        verdict.findings.extend(unexpected_entries(written, &LogViolation::Breach, is_odd, line));
        // Of what a subscriber never heard of, nothing can be said.
        let heard: BTreeSet<_> = seen.events.iter().filter_map(|(_, it)| it.channel()).collect();
        for channel in heard {
            let mut reader = ChannelCheck::new(logs, seen, channel, &mut places, &mut verdict);
            for (at, (when, event)) in seen.events.iter().enumerate() {
                if event.channel().is_none_or(|it| it == channel) {
                    reader.read(at, *when, event);
                }
            }
            reader.end(seen.events.len());
        }
    }
    verdict
}

fn is_odd(event: &LogEvent) -> bool {
    match event {
        LogEvent::Unexpected(_) => true,
        LogEvent::Closed { why } => is_unexpected_close(why),
        _ => false,
    }
}

/// Who saw what at a position first: no position may be two publications.
type Positions = HashMap<(ChannelNumber, Position), (PublisherNumber, u64)>;
