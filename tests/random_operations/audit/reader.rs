//! What one client saw of one channel, held against what was published.

use std::collections::HashMap;
use std::time::Instant;

use super::subscription::Subscription;
use super::table::Table;
use super::{Finding, Kind, Run, Verdict};
use crate::channels::{self, ChannelNumber};
use crate::journal::{Entry, Journal, Ledger, Name, Outcome, Plain, Publication};
use crate::log::{Position, PublisherNumber};

/// Lines of the journal shown on each side of what was found.
const AROUND: usize = 8;

/// Publications named in one finding.
const NAMED_MAX: usize = 12;

/// Reads one journal from its beginning to its end.
pub struct Reader<'a> {
    run: &'a Run<'a>,
    table: &'a Table<'a>,
    client: usize,
    journal: &'a Journal,
    channel: ChannelNumber,
    verdict: &'a mut Verdict,
    /// Connections so far.
    connections: usize,
    /// Commands `subscribe` of this connection: since where, and with echo?
    asked: HashMap<u64, (Option<Position>, bool)>,
    subscription: Option<Subscription>,
    /// All that came on this connection and may not come again.
    come: HashMap<Name, Option<Position>>,
    /// The furthest position that came on this connection.
    furthest: Option<Position>,
    /// The highest number of each publisher on this connection.
    newest: HashMap<PublisherNumber, u64>,
    /// The last position that the client was told, on any connection.
    told: Option<Position>,
}

impl<'a> Reader<'a> {
    pub fn new(
        run: &'a Run<'a>,
        table: &'a Table<'a>,
        client: usize,
        channel: ChannelNumber,
        verdict: &'a mut Verdict,
    ) -> Self {
        Self {
            run,
            table,
            client,
            journal: &run.journals[client],
            channel,
            verdict,
            connections: 0,
            asked: HashMap::new(),
            subscription: None,
            come: HashMap::new(),
            furthest: None,
            newest: HashMap::new(),
            told: None,
        }
    }

    pub fn read(&mut self, at: usize, when: Instant, entry: &Entry) {
        self.judge(at, when, entry);
        if let Entry::Subscribed { position, .. } | Entry::Publication { position, .. } = entry {
            self.told = self.told.max(*position);
        }
    }

    fn judge(&mut self, at: usize, when: Instant, entry: &Entry) {
        match entry {
            Entry::Opened { .. } => self.connections += 1,
            Entry::OpenedPlain(plain) => {
                self.connections += 1;
                self.opened_plain(at, when, plain);
            }
            Entry::Subscribe { id, since, echo, .. } => {
                self.asked.insert(*id, (*since, *echo));
            }
            Entry::Subscribed { id, position, recovered, .. } => {
                let asked = id.and_then(|id| self.asked.get(&id).copied());
                self.subscribed(at, when, asked, *position, *recovered);
            }
            Entry::Unsubscribed { .. } | Entry::Refused { id: None, .. } => {
                self.finish(at, false);
                self.subscription = None;
            }
            Entry::Gap { .. } => self.gap(at, when),
            Entry::Publication { name, position, .. } => self.publication(at, *name, *position),
            Entry::Closed { .. } => {
                self.finish(at, false);
                self.subscription = None;
                self.asked.clear();
                self.come.clear();
                self.furthest = None;
                self.newest.clear();
            }
            Entry::Unsubscribe { .. }
            | Entry::Refused { .. }
            | Entry::Paused(_)
            | Entry::Odd(_) => {}
        }
    }

    /// The journal is over, and if the client settled, it had time to get everything.
    pub fn end(&mut self) {
        self.finish(self.journal.entries.len(), self.journal.settled);
    }

    fn kind(&self) -> channels::Kind {
        self.run.channels[self.channel].kind
    }

    fn opened_plain(&mut self, at: usize, when: Instant, plain: &Plain) {
        self.verdict.subscriptions += 1;
        let mut subscription = Subscription::new(when, plain.echo);
        subscription.plain = true;
        // A plain client is not told of a gap. Unless it is closed in its place, completeness is promised
        // only where no gap can be.
        subscription.complete = plain.closes_at_gap
            || match self.kind() {
                channels::Kind::Plain => !self.run.interrupted,
                channels::Kind::Long => !self.run.amnesia,
                _ => false,
            };
        self.comes_in(at, &mut subscription, plain.since, plain.position, plain.recovered);
        self.subscription = Some(subscription);
    }

    fn subscribed(
        &mut self,
        at: usize,
        when: Instant,
        asked: Option<(Option<Position>, bool)>,
        position: Option<Position>,
        recovered: Option<bool>,
    ) {
        let Some((since, echo)) = asked else {
            return self.find(Kind::Breach, at, 1, "subscribed, and never asked for".to_owned());
        };
        if self.kind().keeps_history() && position.is_none() {
            self.find(Kind::Breach, at, 1, "subscribed without a position".to_owned());
        }
        if let Some(subscription) = &mut self.subscription {
            // Asked for again: it changes nothing, and tells where the channel stands.
            let latest = subscription.latest;
            subscription.floor = subscription.floor.max(position);
            if subscription.last.is_none() {
                subscription.last = position;
            }
            if let (Some(latest), Some(position)) = (latest, position)
                && position < latest
            {
                let what = format!("subscribed again at {position}, and {latest} had come before");
                self.find(Kind::Behind, at, 1, what);
            }
            return;
        }
        if since.is_some() != recovered.is_some() {
            let what = format!("subscribed since {since:?} and recovered is {recovered:?}");
            self.find(Kind::Breach, at, 1, what);
        }
        self.verdict.subscriptions += 1;
        let mut subscription = Subscription::new(when, echo);
        self.comes_in(at, &mut subscription, since, position, recovered);
        self.subscription = Some(subscription);
    }

    /// Where a new subscription begins, and what is promised for that.
    fn comes_in(
        &mut self,
        at: usize,
        subscription: &mut Subscription,
        since: Option<Position>,
        position: Option<Position>,
        recovered: Option<bool>,
    ) {
        if let (Some(furthest), Some(position)) = (self.furthest, position)
            && position < furthest
        {
            let what = format!("subscribed at {position}, and {furthest} had come before");
            self.find(Kind::Behind, at, 1, what);
        }
        let Some(since) = since else {
            subscription.last = position;
            subscription.floor = position.max(self.furthest);
            return;
        };
        if recovered == Some(true) {
            self.verdict.resumed += 1;
            self.false_claim(at, since, position);
            subscription.recovered = true;
            subscription.last = Some(since);
            subscription.floor = Some(since);
            if let Some(stood) = self.table.stood_at(self.channel, since) {
                subscription.begun = stood;
            }
            // What follows `since` comes once more; what stands in no history does not.
            let table = self.table;
            self.come.retain(|name, position| {
                (*position).or(table.position(*name)).is_none_or(|it| it <= since)
            });
            self.newest.clear();
            return;
        }
        subscription.last = position;
        subscription.floor = position.max(self.furthest);
        self.verdict.gaps += 1;
        let needless = self.kind() == channels::Kind::Long && !self.run.amnesia;
        // Of a position that the client did not make up.
        let was_told = self.told.is_some_and(|it| it.epoch == since.epoch && since <= it);
        if needless && recovered == Some(false) && was_told {
            let what = format!("not recovered since {since}, though Redis kept the history");
            self.find(Kind::NeedlessGap, at, 1, what);
        }
    }

    /// `recovered: true` of what never was a position, or of one that lies ahead.
    fn false_claim(&mut self, at: usize, since: Position, position: Option<Position>) {
        let what = match position {
            _ if !self.table.knows_epoch(self.channel, since) => {
                format!("recovered since {since}, which is no position of this channel")
            }
            None => format!("recovered since {since} without a position"),
            Some(position) if position < since => {
                format!("recovered since {since}, which lies after {position}")
            }
            Some(_) => return,
        };
        self.find(Kind::FalseRecovery, at, 1, what);
    }

    fn gap(&mut self, at: usize, when: Instant) {
        self.verdict.gaps += 1;
        self.finish(at, false);
        match &mut self.subscription {
            Some(subscription) => subscription.gap(when),
            None => {
                return self.find(Kind::Stray, at, 1, "a gap without a subscription".to_owned());
            }
        }
        let needless = match self.kind() {
            channels::Kind::Long => !self.run.amnesia,
            channels::Kind::Plain => !self.run.interrupted,
            _ => false,
        };
        if needless {
            self.find(Kind::NeedlessGap, at, 1, "a gap where nothing can be missing".to_owned());
        }
    }

    fn publication(&mut self, at: usize, name: Name, told: Option<Position>) {
        self.verdict.deliveries += 1;
        let shown = format!("{}/{}", name.0, name.1);
        let Some(publication) = self.table.publication(self.channel, name) else {
            return self.find(Kind::Breach, at, 1, format!("{shown} came, and nobody sent it"));
        };
        let Some(subscription) = &self.subscription else {
            return self.find(Kind::Stray, at, 1, format!("{shown} came without a subscription"));
        };
        let ledger = &self.run.ledgers[name.0];
        let appended = self.kind().keeps_history() && ledger.way.appends();
        if appended && told.is_none() && !subscription.plain && !subscription.told_gap {
            self.find(Kind::Breach, at, 1, format!("{shown} came without its position"));
        }
        let Some(subscription) = &self.subscription else { return };
        if !subscription.echo && self.is_own(ledger, publication) {
            return self.find(Kind::Breach, at, 1, format!("its own {shown} came"));
        }
        let position = told.or(self.table.position(name).filter(|_| subscription.plain));
        if self.once(at, name, position, publication) {
            if let Some(position) = position {
                self.place(at, &shown, position, told.is_some());
            }
            self.number(at, name, publication);
        }
        let Some(subscription) = &mut self.subscription else { return };
        subscription.something_came = true;
        subscription.got.insert(name);
        let newest = subscription.newest.entry(name.0).or_default();
        *newest = (*newest).max(name.1);
    }

    /// Whether it came for the first time, or may come again.
    fn once(
        &mut self,
        at: usize,
        name: Name,
        position: Option<Position>,
        publication: &Publication,
    ) -> bool {
        let Some(before) = self.come.insert(name, position) else { return true };
        // Where no history knows the key, what is sent again may come again.
        let is_forgotten = match self.kind() {
            channels::Kind::Long => self.run.amnesia,
            _ => true,
        };
        let same_place = before.is_some() && before == position;
        if publication.attempts > 1 && is_forgotten && !same_place {
            return true;
        }
        let place = |it: Option<Position>| it.map_or("-".to_owned(), |it| it.to_string());
        let what = format!(
            "{}/{} came at {} and again at {}",
            name.0,
            name.1,
            place(before),
            place(position)
        );
        self.find(Kind::Twice, at, 1, what);
        false
    }

    /// Positions grow, and by one.
    fn place(&mut self, at: usize, shown: &str, position: Position, told: bool) {
        let Some(subscription) = &mut self.subscription else { return };
        let (latest, floor) = (subscription.latest, subscription.floor);
        let (last, missing) = (subscription.last, subscription.complete);
        let strict = told;
        if latest.is_none_or(|it| it < position) {
            subscription.latest = Some(position);
        }
        if last.is_none_or(|it| it < position) {
            subscription.last = Some(position);
        }
        self.furthest = self.furthest.max(Some(position));
        if let Some(latest) = latest.filter(|it| *it >= position) {
            let kind = if latest == position { Kind::Twice } else { Kind::Disorder };
            return self.find(kind, at, 1, format!("{shown} at {position} came after {latest}"));
        }
        if let Some(floor) = floor.filter(|it| *it >= position) {
            let what = format!("{shown} at {position} came, and {floor} was told before");
            return self.find(Kind::Stale, at, 1, what);
        }
        if let Some(last) = last.filter(|_| missing) {
            self.follows(at, last, position, strict);
        }
    }

    /// Nothing that is known to stand between two that came after each other is missing.
    fn follows(&mut self, at: usize, last: Position, position: Position, strict: bool) {
        let mut missing: Vec<(Position, Name)> =
            self.table.between(self.channel, last, Some(position)).collect();
        let Some(subscription) = &self.subscription else { return };
        // Positions of which nobody knows anything.
        let first = if last.epoch == position.epoch { last.seq + 1 } else { 1 };
        let known = missing.iter().filter(|(it, _)| it.epoch == position.epoch).count() as u64;
        let unknown = position.seq.saturating_sub(first).saturating_sub(known);
        missing.retain(|(_, name)| {
            let publication = self.table.publication(self.channel, *name);
            let own = publication.is_some_and(|it| self.is_own(&self.run.ledgers[name.0], it));
            !(own && !subscription.echo) && !subscription.got.contains(name)
        });
        let unknown = if strict && subscription.echo { unknown as usize } else { 0 };
        if missing.is_empty() && unknown == 0 {
            return;
        }
        let names: Vec<Name> = missing.iter().map(|(_, name)| *name).collect();
        let what = format!("{last} is followed by {position}, without {}", listed(&names));
        self.lose(at, &names, unknown, what);
    }

    /// One publisher's publications come in their order.
    fn number(&mut self, at: usize, name: Name, publication: &Publication) {
        let newest = self.newest.entry(name.0).or_default();
        let before = *newest;
        *newest = before.max(name.1);
        let is_certain =
            |it: &Publication| it.attempts == 1 && matches!(it.outcome, Outcome::Taken(_));
        let after = self.table.publication(self.channel, (name.0, before));
        if name.1 < before && is_certain(publication) && after.is_some_and(is_certain) {
            let what = format!("{}/{} came after {}/{before}", name.0, name.1, name.0);
            self.find(Kind::Disorder, at, 1, what);
        }
    }

    /// A stretch is over: what was published in it and taken came, as far as something later shows that
    /// it was its turn; `settled`: all of it.
    fn finish(&mut self, at: usize, settled: bool) {
        let Some(subscription) = self.subscription.as_ref().filter(|it| it.complete) else {
            return;
        };
        let mut missing = Vec::new();
        for (publisher, ledger) in self.run.ledgers.iter().enumerate() {
            let promised = self.kind() == channels::Kind::Plain || ledger.way.appends();
            if ledger.channel != self.channel || !promised {
                continue;
            }
            let newest = subscription.newest.get(&publisher).copied().unwrap_or_default();
            let all = &ledger.publications;
            let from = all.partition_point(|it| it.begun < subscription.begun);
            let numbered = all.iter().enumerate().skip(from);
            for (index, publication) in numbered {
                let name = (publisher, index as u64 + 1);
                let due = settled || name.1 < newest;
                let taken = matches!(publication.outcome, Outcome::Taken(_));
                let own = !subscription.echo && self.is_own(ledger, publication);
                let before = self.table.position(name) <= subscription.floor
                    && self.table.position(name).is_some();
                let known =
                    subscription.got.contains(&name) || subscription.missing.contains(&name);
                if due && taken && !own && !before && !known {
                    missing.push(name);
                }
            }
        }
        if let Some(last) = subscription.last.filter(|_| settled) {
            for (_, name) in self.table.between(self.channel, last, None) {
                let publication = self.table.publication(self.channel, name);
                let own = publication.is_some_and(|it| self.is_own(&self.run.ledgers[name.0], it));
                let known =
                    subscription.got.contains(&name) || subscription.missing.contains(&name);
                if !(own && !subscription.echo) && !known && !missing.contains(&name) {
                    missing.push(name);
                }
            }
        }
        if !missing.is_empty() {
            let what = format!("published meanwhile, and did not come: {}", listed(&missing));
            self.lose(at, &missing, 0, what);
        }
    }

    fn lose(&mut self, at: usize, names: &[Name], unknown: usize, what: String) {
        let Some(subscription) = &mut self.subscription else { return };
        subscription.missing.extend(names);
        let kind = match subscription.recovered && !subscription.something_came {
            true => Kind::FalseRecovery,
            false => Kind::Loss,
        };
        self.find(kind, at, names.len() + unknown, what);
    }

    /// Did it go out through the connection that is read now?
    fn is_own(&self, ledger: &Ledger, publication: &Publication) -> bool {
        ledger.client == Some(self.client)
            && publication.connection.is_some_and(|it| it + 1 == self.connections)
    }

    fn find(&mut self, kind: Kind, at: usize, count: usize, what: String) {
        let about = |entry: &Entry| entry.channel().is_none_or(|it| it == self.channel);
        let entries = &self.journal.entries;
        let before = entries[..at.min(entries.len())].iter().rev().filter(|it| about(&it.1));
        let mut lines: Vec<_> = before.take(AROUND).collect();
        lines.reverse();
        lines.extend(entries.iter().skip(at).filter(|it| about(&it.1)).take(AROUND));
        let line = |(when, entry): &&(Instant, Entry)| {
            entry.line(when.duration_since(self.run.begun), self.run.channels)
        };
        self.verdict.findings.push(Finding {
            kind,
            client: self.journal.client.clone(),
            channel: self.run.channels[self.channel].name.clone(),
            count,
            what,
            around: lines.iter().map(line).collect(),
        });
    }
}

fn listed(names: &[Name]) -> String {
    let some: Vec<String> = names
        .iter()
        .take(NAMED_MAX)
        .map(|(publisher, number)| format!("{publisher}/{number}"))
        .collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", some.join(" "))
}
