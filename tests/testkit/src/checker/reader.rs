//! Checks one subscriber's log of one channel against the publishers' logs.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::{CheckReport, LogFinding, LogViolation, Logs, Positions};
use crate::finding::context_lines;
use crate::log::{ChannelNumber, LogEvent, Position, PublisherNumber, SubscriberLog};

/// Most numbers listed in one finding.
const NUMBERS_MAX: usize = 20;

/// Reads one log from start to end.
pub struct ChannelCheck<'a> {
    logs: &'a Logs<'a>,
    seen: &'a SubscriberLog,
    channel: ChannelNumber,
    places: &'a mut Positions,
    report: &'a mut CheckReport,
    segment: Option<Segment>,
    /// Counts segments.
    number: usize,
    /// Publications received so far, with the segment of the last delivery.
    received: HashMap<(PublisherNumber, u64), usize>,
    /// Publications received anywhere in the log: a late one is not lost.
    ever_received: HashSet<(PublisherNumber, u64)>,
    /// The highest number of each publisher, with its segment.
    newest: HashMap<PublisherNumber, (u64, usize)>,
}

struct Segment {
    /// Publications from here on must arrive.
    started: Instant,
    /// The position of the last publication, or of `subscribed`.
    position: Option<Position>,
}

impl<'a> ChannelCheck<'a> {
    pub fn new(
        logs: &'a Logs<'a>,
        seen: &'a SubscriberLog,
        channel: ChannelNumber,
        places: &'a mut Positions,
        report: &'a mut CheckReport,
    ) -> Self {
        let comes = seen.events.iter().filter_map(|(_, event)| match event {
            LogEvent::Publication { channel: it, publisher, number, .. } if *it == channel => {
                Some((*publisher, *number))
            }
            _ => None,
        });
        Self {
            logs,
            seen,
            channel,
            places,
            report,
            segment: None,
            number: 0,
            received: HashMap::new(),
            ever_received: comes.collect(),
            newest: HashMap::new(),
        }
    }

    pub fn read(&mut self, at: usize, when: Instant, event: &LogEvent) {
        let history = self.logs.channels[self.channel].history;
        match event {
            LogEvent::Opened { .. } | LogEvent::Refused { .. } | LogEvent::Unexpected(_) => {}
            LogEvent::Closed { .. } if history => {}
            LogEvent::Closed { .. } => self.segment = None,
            LogEvent::Subscribed { since, position, recovered, .. } => {
                if history && position.is_none() {
                    self.report(
                        LogViolation::Breach,
                        at,
                        1,
                        "subscribed without a position".to_owned(),
                    );
                }
                if since.is_some() != recovered.is_some() {
                    let what = format!("subscribed since {since:?} and recovered is {recovered:?}");
                    self.report(LogViolation::Breach, at, 1, what);
                }
                match (since, recovered) {
                    (Some(_), Some(true)) if history => {}
                    (Some(_), _) => {
                        self.on_gap(at);
                        self.begin(when, *position);
                    }
                    // A client that reconnects without `since` loses the publications in between.
                    (None, _) if history && self.segment.is_some() => {}
                    (None, _) => self.begin(when, *position),
                }
            }
            LogEvent::Gap { .. } => {
                self.on_gap(at);
                self.begin(when, None);
            }
            LogEvent::Publication { publisher, number, position, .. } => {
                self.report.deliveries += 1;
                self.check_publication(at, *publisher, *number, *position);
            }
        }
    }

    fn begin(&mut self, begun: Instant, position: Option<Position>) {
        self.number += 1;
        self.segment = Some(Segment { started: begun, position });
    }

    fn on_gap(&mut self, at: usize) {
        self.report.gaps += 1;
        let channel = &self.logs.channels[self.channel];
        if channel.history {
            self.report.history_gaps += 1;
            if !self.logs.history_lost && !channel.short_history {
                let what = "a gap although Redis kept the history".to_owned();
                self.report(LogViolation::Breach, at, 1, what);
            }
        }
    }

    fn check_publication(
        &mut self,
        at: usize,
        publisher: PublisherNumber,
        number: u64,
        position: Option<Position>,
    ) {
        let Some(stretch) = &self.segment else {
            let what = format!("received {publisher}/{number} without a subscription");
            return self.report(LogViolation::Breach, at, 1, what);
        };
        let begun = stretch.started;
        let sent = self.logs.sent.get(publisher).filter(|it| it.channel == self.channel);
        let Some(publication) = sent.and_then(|it| it.publications.get(number as usize - 1)) else {
            let what = format!("received {publisher}/{number}, which was never sent");
            return self.report(LogViolation::Breach, at, 1, what);
        };
        let again = publication.attempts > 1;
        let history = self.logs.channels[self.channel].history;

        let mut explained = false;
        if let Some(before) = self.received.insert((publisher, number), self.number) {
            // History detects repeated publications, unless the history itself was lost in between.
            explained = again && (!history || before != self.number);
            match explained {
                true => self.report.allowed_repeats += 1,
                false => {
                    let what = format!("{publisher}/{number} arrived twice");
                    return self.report(LogViolation::Duplicate, at, 1, what);
                }
            }
        }
        let newest = self.newest.get(&publisher).copied();
        match newest {
            Some((newest, _)) if number == newest => {}
            Some((newest, stretch)) if number < newest => {
                if !(explained || again && (!history || stretch != self.number)) {
                    let what = format!("{publisher}/{number} arrived after {publisher}/{newest}");
                    self.report(LogViolation::Disorder, at, 1, what);
                }
            }
            _ => {
                let missing = self.missing(publisher, begun, Some(number));
                self.report_loss(at, publisher, &missing, &format!("before {publisher}/{number}"));
                self.newest.insert(publisher, (number, self.number));
                if missing.is_empty() {
                    self.check_position_order(at, publisher, number, position);
                }
            }
        }
        if let Some(position) = position {
            self.check_position(at, publisher, number, position);
        }
        if let Some(stretch) = &mut self.segment {
            stretch.position = position.or(stretch.position);
        }
    }

    /// Acknowledged numbers below `until` that should have arrived in this segment and did not.
    fn missing(&self, publisher: PublisherNumber, begun: Instant, until: Option<u64>) -> Vec<u64> {
        let publications = &self.logs.sent[publisher].publications;
        // Publications sent before the segment started may be on either side of its start, even if an older
        // one arrived late because a frozen node delayed it.
        let since = publications.partition_point(|it| it.started < begun);
        let first = match self.newest.get(&publisher) {
            Some((newest, stretch)) if *stretch == self.number => since.max(*newest as usize),
            _ => since,
        };
        let until = until.map_or(publications.len(), |it| it as usize - 1);
        let lost = |index: &usize| {
            let number = *index as u64 + 1;
            publications[*index].acknowledged.is_some()
                && !self.ever_received.contains(&(publisher, number))
        };
        (first..until).filter(lost).map(|index| index as u64 + 1).collect()
    }

    fn report_loss(&mut self, at: usize, publisher: PublisherNumber, missing: &[u64], when: &str) {
        if !missing.is_empty() {
            let listed: Vec<_> = missing.iter().take(NUMBERS_MAX).map(u64::to_string).collect();
            let what = format!("{publisher}/[{}] never arrived {when}", listed.join(" "));
            self.report(LogViolation::Loss, at, missing.len(), what);
        }
    }

    /// Checks that positions increase by exactly 1 over all publishers.
    fn check_position_order(
        &mut self,
        at: usize,
        publisher: PublisherNumber,
        number: u64,
        position: Option<Position>,
    ) {
        let history = self.logs.channels[self.channel].history;
        let before = self.segment.as_ref().and_then(|it| it.position);
        match (before, position) {
            (_, None) if history => {
                let what = format!("{publisher}/{number} has no position");
                self.report(LogViolation::Breach, at, 1, what);
            }
            (Some(before), Some(position))
                if self.logs.history_lost && position.epoch > before.epoch =>
            {
                // A promoted server starts its own epoch. Missing publications of the old one are found
                // by their number.
            }
            (Some(before), Some(position)) if before.epoch != position.epoch => {
                let what = format!("{position} follows {before}, another history");
                self.report(LogViolation::Loss, at, 1, what);
            }
            (Some(before), Some(position)) if position.seq > before.seq + 1 => {
                let count = (position.seq - before.seq - 1) as usize;
                let what = format!("{position} follows {before}");
                self.report(LogViolation::Loss, at, count, what);
            }
            (Some(before), Some(position)) if position.seq <= before.seq => {
                let what = format!("{position} follows {before}");
                self.report(LogViolation::Disorder, at, 1, what);
            }
            _ => {}
        }
    }

    fn check_position(
        &mut self,
        at: usize,
        publisher: PublisherNumber,
        number: u64,
        position: Position,
    ) {
        let who = (publisher, number);
        let first = *self.places.entry((self.channel, position)).or_insert(who);
        if first != who {
            let what = format!(
                "{position} is {publisher}/{number} here and {}/{} elsewhere",
                first.0, first.1
            );
            self.report(LogViolation::Breach, at, 1, what);
        }
        let publication = self.logs.sent[publisher].publications[number as usize - 1];
        // Sent again after Redis lost its data, it may have two positions.
        if let (Some(told), 1) = (publication.position, publication.attempts)
            && told != position
        {
            let what =
                format!("{publisher}/{number} is at {position}, its publisher received {told}");
            self.report(LogViolation::Breach, at, 1, what);
        }
    }

    /// Ends the log; the subscriber had time to receive everything.
    pub fn end(&mut self, at: usize) {
        let Some(stretch) = &self.segment else { return };
        let begun = stretch.started;
        for publisher in 0..self.logs.sent.len() {
            if self.logs.sent[publisher].channel == self.channel {
                let missing = self.missing(publisher, begun, None);
                self.report_loss(at, publisher, &missing, "before the end");
            }
        }
    }

    fn report(&mut self, kind: LogViolation, at: usize, count: usize, what: String) {
        let channel = &self.logs.channels[self.channel];
        let about = |event: &LogEvent| event.channel().is_none_or(|it| it == self.channel);
        let line = |when, event: &LogEvent| self.logs.line(when, event);
        let around = context_lines(&self.seen.events, at, about, line);
        self.report.findings.push(LogFinding {
            kind,
            client: self.seen.name.clone(),
            channel: channel.name.clone(),
            count,
            what,
            around,
        });
    }
}
