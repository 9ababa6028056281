//! Finds publications that should have arrived and did not.

use std::collections::BTreeSet;

use super::reader::ChannelAudit;
use super::subscription::Subscription;
use super::{AuditFinding, Violation};
use crate::audit::channels;
use crate::audit::journal::{
    Entry, JournalPublication, PublicationId, PublishOutcome, PublisherJournal,
};
use crate::finding::context_lines;
use crate::log::{Position, PublisherNumber};

/// Most publications listed in one finding.
const NAMED_MAX: usize = 12;

impl ChannelAudit<'_> {
    /// Checks that no known publication between two consecutive deliveries is missing, and with `strict` no
    /// unknown one either. `comes_in`: the first delivery starts a subscription that was not recovered.
    pub(super) fn check_between(
        &mut self,
        at: usize,
        (last, position): (Position, Position),
        strict: bool,
        comes_in: bool,
    ) {
        let mut missing: Vec<(Position, PublicationId)> =
            self.table.between(self.channel, last, Some(position)).collect();
        let Some(subscription) = &self.subscription else { return };
        // Positions that appear in no journal.
        let first = if last.epoch == position.epoch { last.seq + 1 } else { 1 };
        let known = missing.iter().filter(|(it, _)| it.epoch == position.epoch).count() as u64;
        let unknown = position.seq.saturating_sub(first).saturating_sub(known);
        // A client that knows that something may be missing up to now loses nothing with the publications of
        // an earlier epoch.
        let begun = subscription.started;
        let is_past = |place: &Position, name: PublicationId| {
            let publication = self.table.publication(self.channel, name);
            let before = publication.is_some_and(|it| it.started < begun);
            comes_in && before && place.epoch != last.epoch
        };
        missing.retain(|(place, name)| self.is_due(*name) && !is_past(place, *name));
        let unknown = if strict && subscription.echo { unknown as usize } else { 0 };
        if missing.is_empty() && unknown == 0 {
            return;
        }
        let names: Vec<PublicationId> = missing.iter().map(|(_, name)| *name).collect();
        let what = format!("{position} follows {last}, without {}", listed(&names));
        self.report_loss(at, &names, unknown, what);
    }

    /// Whether it must arrive: not the client's own without echo, not received yet, and not reported yet.
    fn is_due(&self, name: PublicationId) -> bool {
        let Some(subscription) = &self.subscription else { return false };
        let publication = self.table.publication(self.channel, name);
        let own = publication.is_some_and(|it| self.is_own(&self.run.ledgers[name.0], it));
        let known = subscription.received.contains(&name) || subscription.missing.contains(&name);
        // A publication that is in no history arrives once over all connections.
        let came = self.table.position(name).is_none() && self.ever_received.contains(&name);
        (subscription.echo || !own) && !known && !came
    }

    /// Ends a segment: every publication accepted in it must have arrived if a later one of its publisher
    /// did; with `settled`, all of them.
    pub(super) fn end_segment(&mut self, at: usize, settled: bool) {
        let Some(subscription) = self.subscription.as_ref().filter(|it| it.complete) else {
            return;
        };
        let mut missing = BTreeSet::new();
        for (publisher, ledger) in self.run.ledgers.iter().enumerate() {
            let promised = self.kind() == channels::HistoryKind::Plain || ledger.path.appends();
            if ledger.channel == self.channel && promised {
                let newest = subscription.newest.get(&publisher).copied().unwrap_or_default();
                let last = if settled { ledger.publications.len() as u64 } else { newest };
                missing.extend(self.missing_of(subscription, publisher, last));
            }
        }
        if let Some(last) = subscription.last.filter(|_| settled) {
            let after = self.table.between(self.channel, last, None);
            missing.extend(after.map(|(_, name)| name).filter(|name| self.is_due(*name)));
        }
        let Some(first) = missing.first() else { return };
        // The report shows the place where the first of them should have arrived.
        let ended = self.table.publication(self.channel, *first).and_then(|it| it.ended);
        let shown = self.journal.entries.partition_point(|(when, _)| Some(*when) < ended);
        let names: Vec<PublicationId> = missing.into_iter().collect();
        let what = format!("published meanwhile, not received: {}", listed(&names));
        self.report_loss(shown.min(at), &names, 0, what);
    }

    /// Accepted publications of one publisher up to number `last` that did not arrive.
    fn missing_of(
        &self,
        subscription: &Subscription,
        publisher: PublisherNumber,
        last: u64,
    ) -> Vec<PublicationId> {
        let all = &self.run.ledgers[publisher].publications;
        let from = all.partition_point(|it| it.started < subscription.started);
        let is_missing = |(index, publication): (usize, &JournalPublication)| {
            let name = (publisher, index as u64 + 1);
            let place = self.table.position(name);
            let before = place.is_some() && place <= subscription.floor;
            let taken = matches!(publication.outcome, PublishOutcome::Accepted(_));
            (taken && !before && self.is_due(name)).then_some(name)
        };
        all.iter().enumerate().take(last as usize).skip(from).filter_map(is_missing).collect()
    }

    pub(super) fn report_loss(
        &mut self,
        at: usize,
        names: &[PublicationId],
        unknown: usize,
        what: String,
    ) {
        let Some(subscription) = &mut self.subscription else { return };
        subscription.missing.extend(names);
        let kind = match subscription.recovered && !subscription.has_received {
            true => Violation::FalseRecovery,
            false => Violation::Loss,
        };
        self.report(kind, at, names.len() + unknown, what);
    }

    /// Whether it was sent through the connection that is audited now.
    pub(super) fn is_own(
        &self,
        ledger: &PublisherJournal,
        publication: &JournalPublication,
    ) -> bool {
        ledger.client == Some(self.client)
            && publication.connection.is_some_and(|it| it + 1 == self.connections)
    }

    pub(super) fn report(&mut self, kind: Violation, at: usize, count: usize, what: String) {
        let about = |entry: &Entry| entry.channel().is_none_or(|it| it == self.channel);
        let line = |when, entry: &Entry| self.run.line(when, entry);
        let around = context_lines(&self.journal.entries, at, about, line);
        self.report.findings.push(AuditFinding {
            kind,
            client: self.journal.client.clone(),
            channel: self.run.channels[self.channel].name.clone(),
            count,
            what,
            around,
        });
    }
}

fn listed(names: &[PublicationId]) -> String {
    let some: Vec<String> = names
        .iter()
        .take(NAMED_MAX)
        .map(|(publisher, number)| format!("{publisher}/{number}"))
        .collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", some.join(" "))
}
