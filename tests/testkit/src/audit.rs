//! Checks the delivery guarantees from the journals alone: publications arrive in order and once, none is
//! missing without a reported gap, `recovered: true` is correct, and nothing arrives outside a subscription.
//!
//! The guarantees are weaker for channels without history, for publications with unknown outcome, and for a
//! plain `PUBLISH` into a channel with history; `missing` implements the difference.

pub mod channels;
mod delivery;
mod history;
pub mod journal;
mod missing;
mod reader;
mod run_end;
mod slow;
mod subscription;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Instant;

use crate::finding::{self, is_unexpected_close, unexpected_entries};
use channels::AuditChannel;
use journal::{
    ClientJournal, Entry, JournalPublication, PublishOutcome, PublisherJournal, RunCallJournal,
};
use reader::ChannelAudit;
use table::PositionTable;

/// All journals of a run, and the damage that its faults may have caused.
pub struct AuditRun<'a> {
    pub channels: &'a [AuditChannel],
    /// By publisher.
    pub ledgers: &'a [PublisherJournal],
    pub journals: &'a [ClientJournal],
    /// The calls about runs.
    pub calls: &'a [RunCallJournal],
    /// Times in reports are relative to this.
    pub started: Instant,
    /// Redis, or the node with the memory broker, lost all its data at least once.
    pub data_lost: bool,
    /// A node's connection to Redis may have been interrupted, or a node may have read late.
    pub interrupted: bool,
}

impl AuditRun<'_> {
    fn line(&self, when: Instant, entry: &Entry) -> String {
        entry.line(when.duration_since(self.started), self.channels)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Violation {
    /// Published while the client was subscribed, not received, and no gap was reported.
    Loss,
    /// `recovered: true`, but a publication after `since` did not arrive, or `since` was never a position.
    FalseRecovery,
    /// A publication or a position arrived twice.
    Twice,
    Disorder,
    /// Received although its position is at or before the position in `subscribed`.
    Stale,
    /// Received before `subscribed` or after `unsubscribed`.
    Stray,
    /// `subscribed` has a position before one that the connection had already received.
    Behind,
    /// A client that reads was closed as a slow consumer.
    Slow,
    /// A gap was reported although nothing can be missing.
    NeedlessGap,
    /// The end of a run did not arrive, came twice or with a wrong reason, or was followed by something.
    End,
    /// Any other violation of the protocol.
    Breach,
    /// The run did not settle: a client did not recover.
    Unsettled,
}

pub type AuditFinding = finding::Finding<Violation>;

/// The result of an audit.
#[derive(Debug, Default)]
pub struct AuditReport {
    pub findings: Vec<AuditFinding>,
    pub published: usize,
    pub deliveries: usize,
    pub subscriptions: usize,
    pub resumed: usize,
    pub gaps: usize,
    /// Ends of runs that clients received.
    pub ends: usize,
}

impl AuditReport {
    pub fn count(&self, kind: Violation) -> usize {
        finding::count(&self.findings, kind)
    }
}

pub fn audit(run: &AuditRun) -> AuditReport {
    let mut report = AuditReport::default();
    let table = PositionTable::new(run, &mut report.findings);
    let taken = |it: &&JournalPublication| matches!(it.outcome, PublishOutcome::Accepted(_));
    let publications = run.ledgers.iter().flat_map(|ledger| &ledger.publications);
    report.published = publications.filter(taken).count();
    run_end::check_ends(run, &table, &mut report);
    for (client, journal) in run.journals.iter().enumerate() {
        let line = |when, entry: &Entry| run.line(when, entry);
        let written = (journal.client.as_str(), journal.entries.as_slice());
        report.findings.extend(unexpected_entries(written, &Violation::Breach, is_odd, line));
        report.findings.extend(slow::closes(journal, run));
        let channels: BTreeSet<_> =
            journal.entries.iter().filter_map(|(_, it)| it.channel()).collect();
        for channel in channels {
            let mut reader = ChannelAudit::new(run, &table, client, channel, &mut report);
            for (at, (when, entry)) in journal.entries.iter().enumerate() {
                if entry.channel().is_none_or(|it| it == channel) {
                    reader.read(at, *when, entry);
                }
            }
            reader.end();
        }
    }
    report
}

fn is_odd(entry: &Entry) -> bool {
    match entry {
        Entry::Unexpected(_) => true,
        Entry::Closed { why } => is_unexpected_close(why),
        _ => false,
    }
}
