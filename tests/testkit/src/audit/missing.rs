//! What did not come, though it was promised.

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

/// Publications named in one finding.
const NAMED_MAX: usize = 12;

impl ChannelAudit<'_> {
    /// Nothing that is known to stand between two that came after each other is missing. `strict`: nor what
    /// is not known. `comes_in`: the first of them is where a subscription begins that was not recovered.
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
        // Positions of which nobody knows anything.
        let first = if last.epoch == position.epoch { last.seq + 1 } else { 1 };
        let known = missing.iter().filter(|(it, _)| it.epoch == position.epoch).count() as u64;
        let unknown = position.seq.saturating_sub(first).saturating_sub(known);
        // A client that was told that something may be missing up to now loses nothing with what another
        // epoch had before.
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
        let what = format!("{last} is followed by {position}, without {}", listed(&names));
        self.report_loss(at, &names, unknown, what);
    }

    /// It is not the client's own that it does not want, it did not come, and it was not reported.
    fn is_due(&self, name: PublicationId) -> bool {
        let Some(subscription) = &self.subscription else { return false };
        let publication = self.table.publication(self.channel, name);
        let own = publication.is_some_and(|it| self.is_own(&self.run.ledgers[name.0], it));
        let known = subscription.received.contains(&name) || subscription.missing.contains(&name);
        // What stands in no history comes once, on whatever connection.
        let came = self.table.position(name).is_none() && self.ever_received.contains(&name);
        (subscription.echo || !own) && !known && !came
    }

    /// A stretch is over: what was published in it and taken came, as far as something later shows that
    /// it was its turn; `settled`: all of it.
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
        // Shown where the first of them should have come.
        let ended = self.table.publication(self.channel, *first).and_then(|it| it.ended);
        let shown = self.journal.entries.partition_point(|(when, _)| Some(*when) < ended);
        let names: Vec<PublicationId> = missing.into_iter().collect();
        let what = format!("published meanwhile, and did not come: {}", listed(&names));
        self.report_loss(shown.min(at), &names, 0, what);
    }

    /// What one publisher was told to be taken, up to the number `last`, and did not come.
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

    /// Did it go out through the connection that is read now?
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
        self.verdict.findings.push(AuditFinding {
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
