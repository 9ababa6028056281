//! Says from the logs alone whether the promise was kept: no gap without a gap message.
//!
//! What one subscriber saw of one channel falls into *stretches*, each begun by a `subscribed`, a `gap`
//! or a `recovered: false`. Within a stretch nothing may be missing that was acknowledged; between two
//! stretches the subscriber knows that something may be. On a channel without history the subscriber's
//! own disconnection ends the stretch; with history it does not, unless the node says so.

// Spelt out, because other suites take this file from where it is.
#[path = "checker/reader.rs"]
mod reader;

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::log::{Channel, ChannelNumber, Event, Position, PublisherNumber, Seen, Sent};
use reader::Reader;

/// Close codes that no fault here explains.
const UNEXPECTED_CLOSES: [&str; 5] = ["1002", "1003", "1007", "1008", "1011"];

/// All logs of one run.
pub struct Logs<'a> {
    pub channels: &'a [Channel],
    /// By publisher.
    pub sent: &'a [Sent],
    pub seen: &'a [Seen],
    /// What times are shown from.
    pub begun: Instant,
    /// Redis lost its data, or may have: then also channels with history may have gaps.
    pub history_lost: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Acknowledged, not received, and nobody said so.
    Loss,
    Duplicate,
    Disorder,
    /// Something else that the contract rules out.
    Breach,
}

#[derive(Debug)]
pub struct Finding {
    pub kind: Kind,
    pub subscriber: String,
    pub channel: String,
    /// How many publications it is about.
    pub count: usize,
    pub what: String,
    pub around: Vec<String>,
}

/// What the logs say.
#[derive(Debug, Default)]
pub struct Verdict {
    pub findings: Vec<Finding>,
    pub acknowledged: usize,
    pub deliveries: usize,
    /// `gap` and `recovered: false`.
    pub gaps: usize,
    /// Those on channels with history.
    pub history_gaps: usize,
    /// Copies of what its publisher had to send again and no history could know again.
    pub repeats: usize,
}

impl Verdict {
    pub fn count(&self, kind: Kind) -> usize {
        self.findings.iter().filter(|it| it.kind == kind).map(|it| it.count).sum()
    }
}

pub fn check(logs: &Logs) -> Verdict {
    let mut verdict = Verdict::default();
    let publications = logs.sent.iter().flat_map(|sent| &sent.publications);
    verdict.acknowledged = publications.filter(|it| it.acknowledged.is_some()).count();
    let mut places = Places::new();
    for seen in logs.seen {
        verdict.findings.extend(oddities(seen, logs));
        // Of what a subscriber never heard of, nothing can be said.
        let heard: BTreeSet<_> = seen.events.iter().filter_map(|(_, it)| it.channel()).collect();
        for channel in heard {
            let mut reader = Reader::new(logs, seen, channel, &mut places, &mut verdict);
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

/// What concerns no channel: a fault in the node, an answer that nothing explains.
fn oddities(seen: &Seen, logs: &Logs) -> Vec<Finding> {
    let odd = |event: &Event| match event {
        Event::Odd(_) => true,
        Event::Closed { why } => UNEXPECTED_CLOSES.iter().any(|code| why.starts_with(code)),
        _ => false,
    };
    let all = seen.events.iter().filter(|(_, event)| odd(event));
    all.map(|(when, event)| Finding {
        kind: Kind::Breach,
        subscriber: seen.name.clone(),
        channel: "no channel".to_owned(),
        count: 1,
        what: event.line(when.duration_since(logs.begun), logs.channels),
        around: Vec::new(),
    })
    .collect()
}

/// Who saw what at a position first: no position may be two publications.
type Places = HashMap<(ChannelNumber, Position), (PublisherNumber, u64)>;
