//! What one subscriber saw of one channel, held against what was sent.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::{Finding, Kind, Logs, Places, Verdict};
use crate::finding::around;
use crate::log::{ChannelNumber, LogEvent, Position, PublisherNumber, SubscriberLog};

/// Numbers listed of one finding.
const NUMBERS_MAX: usize = 20;

/// Reads one log from its beginning to its end.
pub struct Reader<'a> {
    logs: &'a Logs<'a>,
    seen: &'a SubscriberLog,
    channel: ChannelNumber,
    places: &'a mut Places,
    verdict: &'a mut Verdict,
    stretch: Option<Stretch>,
    /// Counts stretches.
    number: usize,
    /// Every publication that came so far, with the stretch it came in last.
    come: HashMap<(PublisherNumber, u64), usize>,
    /// Every publication that comes at all: what comes late is no loss.
    comes: HashSet<(PublisherNumber, u64)>,
    /// The highest number of each publisher, with its stretch.
    newest: HashMap<PublisherNumber, (u64, usize)>,
}

struct Stretch {
    /// What is published from here on must come.
    begun: Instant,
    /// Of the last publication, or of `subscribed`.
    position: Option<Position>,
}

impl<'a> Reader<'a> {
    pub fn new(
        logs: &'a Logs<'a>,
        seen: &'a SubscriberLog,
        channel: ChannelNumber,
        places: &'a mut Places,
        verdict: &'a mut Verdict,
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
            verdict,
            stretch: None,
            number: 0,
            come: HashMap::new(),
            comes: comes.collect(),
            newest: HashMap::new(),
        }
    }

    pub fn read(&mut self, at: usize, when: Instant, event: &LogEvent) {
        let history = self.logs.channels[self.channel].history;
        match event {
            LogEvent::Opened { .. } | LogEvent::Refused { .. } | LogEvent::Odd(_) => {}
            LogEvent::Closed { .. } if history => {}
            LogEvent::Closed { .. } => self.stretch = None,
            LogEvent::Subscribed { since, position, recovered, .. } => {
                if history && position.is_none() {
                    self.find(Kind::Breach, at, 1, "subscribed without a position".to_owned());
                }
                if since.is_some() != recovered.is_some() {
                    let what = format!("subscribed since {since:?} and recovered is {recovered:?}");
                    self.find(Kind::Breach, at, 1, what);
                }
                match (since, recovered) {
                    (Some(_), Some(true)) if history => {}
                    (Some(_), _) => {
                        self.gap(at);
                        self.begin(when, *position);
                    }
                    // Who was here before and asks for nothing misses what went by.
                    (None, _) if history && self.stretch.is_some() => {}
                    (None, _) => self.begin(when, *position),
                }
            }
            LogEvent::Gap { .. } => {
                self.gap(at);
                self.begin(when, None);
            }
            LogEvent::Publication { publisher, number, position, .. } => {
                self.verdict.deliveries += 1;
                self.publication(at, *publisher, *number, *position);
            }
        }
    }

    fn begin(&mut self, begun: Instant, position: Option<Position>) {
        self.number += 1;
        self.stretch = Some(Stretch { begun, position });
    }

    fn gap(&mut self, at: usize) {
        self.verdict.gaps += 1;
        let channel = &self.logs.channels[self.channel];
        if channel.history {
            self.verdict.history_gaps += 1;
            if !self.logs.history_lost && !channel.forgetful {
                let what = "a gap, though Redis kept the history".to_owned();
                self.find(Kind::Breach, at, 1, what);
            }
        }
    }

    fn publication(
        &mut self,
        at: usize,
        publisher: PublisherNumber,
        number: u64,
        position: Option<Position>,
    ) {
        let Some(stretch) = &self.stretch else {
            let what = format!("{publisher}/{number} came without a subscription");
            return self.find(Kind::Breach, at, 1, what);
        };
        let begun = stretch.begun;
        let sent = self.logs.sent.get(publisher).filter(|it| it.channel == self.channel);
        let Some(publication) = sent.and_then(|it| it.publications.get(number as usize - 1)) else {
            let what = format!("{publisher}/{number} came, and nobody sent it");
            return self.find(Kind::Breach, at, 1, what);
        };
        let again = publication.attempts > 1;
        let history = self.logs.channels[self.channel].history;

        let mut explained = false;
        if let Some(before) = self.come.insert((publisher, number), self.number) {
            // A history knows again what is sent again, unless it was lost itself in between.
            explained = again && (!history || before != self.number);
            match explained {
                true => self.verdict.repeats += 1,
                false => {
                    let what = format!("{publisher}/{number} came twice");
                    return self.find(Kind::Duplicate, at, 1, what);
                }
            }
        }
        let newest = self.newest.get(&publisher).copied();
        match newest {
            Some((newest, _)) if number == newest => {}
            Some((newest, stretch)) if number < newest => {
                if !(explained || again && (!history || stretch != self.number)) {
                    let what = format!("{publisher}/{number} came after {publisher}/{newest}");
                    self.find(Kind::Disorder, at, 1, what);
                }
            }
            _ => {
                let missing = self.missing(publisher, begun, Some(number));
                self.lose(at, publisher, &missing, &format!("before {publisher}/{number}"));
                self.newest.insert(publisher, (number, self.number));
                if missing.is_empty() {
                    self.position_follows(at, publisher, number, position);
                }
            }
        }
        if let Some(position) = position {
            self.place(at, publisher, number, position);
        }
        if let Some(stretch) = &mut self.stretch {
            stretch.position = position.or(stretch.position);
        }
    }

    /// Acknowledged numbers below `until` that should have come in this stretch and did not.
    fn missing(&self, publisher: PublisherNumber, begun: Instant, until: Option<u64>) -> Vec<u64> {
        let publications = &self.logs.sent[publisher].publications;
        // What was sent before the stretch began may be on either side of it, also where an older one
        // that a frozen node held back came late.
        let since = publications.partition_point(|it| it.begun < begun);
        let first = match self.newest.get(&publisher) {
            Some((newest, stretch)) if *stretch == self.number => since.max(*newest as usize),
            _ => since,
        };
        let until = until.map_or(publications.len(), |it| it as usize - 1);
        let lost = |index: &usize| {
            let number = *index as u64 + 1;
            publications[*index].acknowledged.is_some()
                && !self.comes.contains(&(publisher, number))
        };
        (first..until).filter(lost).map(|index| index as u64 + 1).collect()
    }

    fn lose(&mut self, at: usize, publisher: PublisherNumber, missing: &[u64], when: &str) {
        if !missing.is_empty() {
            let listed: Vec<_> = missing.iter().take(NUMBERS_MAX).map(u64::to_string).collect();
            let what = format!("{publisher}/[{}] never came {when}", listed.join(" "));
            self.find(Kind::Loss, at, missing.len(), what);
        }
    }

    /// Positions grow by exactly 1, whoever published.
    fn position_follows(
        &mut self,
        at: usize,
        publisher: PublisherNumber,
        number: u64,
        position: Option<Position>,
    ) {
        let history = self.logs.channels[self.channel].history;
        let before = self.stretch.as_ref().and_then(|it| it.position);
        match (before, position) {
            (_, None) if history => {
                let what = format!("{publisher}/{number} has no position");
                self.find(Kind::Breach, at, 1, what);
            }
            (Some(before), Some(position))
                if self.logs.history_lost && position.epoch > before.epoch =>
            {
                // A server that was promoted begins its own and goes on from the old one. What is
                // missing of it is found by its number.
            }
            (Some(before), Some(position)) if before.epoch != position.epoch => {
                let what = format!("{before} is followed by {position}, another history");
                self.find(Kind::Loss, at, 1, what);
            }
            (Some(before), Some(position)) if position.seq > before.seq + 1 => {
                let count = (position.seq - before.seq - 1) as usize;
                let what = format!("{before} is followed by {position}");
                self.find(Kind::Loss, at, count, what);
            }
            (Some(before), Some(position)) if position.seq <= before.seq => {
                let what = format!("{before} is followed by {position}");
                self.find(Kind::Disorder, at, 1, what);
            }
            _ => {}
        }
    }

    fn place(&mut self, at: usize, publisher: PublisherNumber, number: u64, position: Position) {
        let who = (publisher, number);
        let first = *self.places.entry((self.channel, position)).or_insert(who);
        if first != who {
            let what = format!(
                "{position} is {publisher}/{number} here and {}/{} elsewhere",
                first.0, first.1
            );
            self.find(Kind::Breach, at, 1, what);
        }
        let publication = self.logs.sent[publisher].publications[number as usize - 1];
        // Sent again after Redis lost its data, it may stand at two places.
        if let (Some(told), 1) = (publication.position, publication.attempts)
            && told != position
        {
            let what = format!("{publisher}/{number} is at {position}, its publisher heard {told}");
            self.find(Kind::Breach, at, 1, what);
        }
    }

    /// The log is over, and everybody had time to get everything.
    pub fn end(&mut self, at: usize) {
        let Some(stretch) = &self.stretch else { return };
        let begun = stretch.begun;
        for publisher in 0..self.logs.sent.len() {
            if self.logs.sent[publisher].channel == self.channel {
                let missing = self.missing(publisher, begun, None);
                self.lose(at, publisher, &missing, "before the end");
            }
        }
    }

    fn find(&mut self, kind: Kind, at: usize, count: usize, what: String) {
        let channel = &self.logs.channels[self.channel];
        let about = |event: &LogEvent| event.channel().is_none_or(|it| it == self.channel);
        let line = |when, event: &LogEvent| self.logs.line(when, event);
        let around = around(&self.seen.events, at, about, line);
        self.verdict.findings.push(Finding {
            kind,
            client: self.seen.name.clone(),
            channel: channel.name.clone(),
            count,
            what,
            around,
        });
    }
}
