//! Says from the journals alone whether the promises were kept: in order, once, missing only with a gap
//! told, `recovered: true` only if it is true, nothing outside a subscription.
//!
//! Of a channel without history, a doubtful publication, and a plain `PUBLISH` into a channel with history
//! less is promised, and the audit asks for no more: `missing` says what.

pub mod channels;
mod delivery;
mod history;
pub mod journal;
mod missing;
mod reader;
mod slow;
mod subscription;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Instant;

use crate::finding::{self, is_unexpected_close, unexpected_entries};
use channels::AuditChannel;
use journal::{ClientJournal, Entry, JournalPublication, PublishOutcome, PublisherJournal};
use reader::ChannelAudit;
use table::PositionTable;

/// All journals and ledgers of a run, and what its faults may have done.
pub struct AuditRun<'a> {
    pub channels: &'a [AuditChannel],
    /// By publisher.
    pub ledgers: &'a [PublisherJournal],
    pub journals: &'a [ClientJournal],
    /// What times are shown from.
    pub started: Instant,
    /// Redis, or the node with the memory broker, lost all it kept at least once.
    pub data_lost: bool,
    /// A node's connection to Redis may have broken, or a node may have been late to read.
    pub interrupted: bool,
}

impl AuditRun<'_> {
    fn line(&self, when: Instant, entry: &Entry) -> String {
        entry.line(when.duration_since(self.started), self.channels)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Violation {
    /// It was published while the client was subscribed, it did not come, and no gap was told.
    Loss,
    /// `recovered: true`, and something after `since` did not come; or `since` was never a position.
    FalseRecovery,
    /// One publication, or one position, came twice.
    Twice,
    Disorder,
    /// It came though it lies at or before the position that `subscribed` told.
    Stale,
    /// It came before `subscribed` or after `unsubscribed`.
    Stray,
    /// `subscribed` told a position before what the connection had already got of the channel.
    Behind,
    /// A client that reads was closed as slow.
    Slow,
    /// A gap was told where nothing can be missing.
    NeedlessGap,
    /// Something else that the contract rules out.
    Breach,
    /// The run did not come to rest: a client was not served again.
    Unsettled,
}

pub type AuditFinding = finding::Finding<Violation>;

/// What the journals say.
#[derive(Debug, Default)]
pub struct AuditReport {
    pub findings: Vec<AuditFinding>,
    pub published: usize,
    pub deliveries: usize,
    pub subscriptions: usize,
    pub resumed: usize,
    pub gaps: usize,
}

impl AuditReport {
    pub fn count(&self, kind: Violation) -> usize {
        finding::count(&self.findings, kind)
    }
}

pub fn audit(run: &AuditRun) -> AuditReport {
    let mut verdict = AuditReport::default();
    let table = PositionTable::new(run, &mut verdict.findings);
    let taken = |it: &&JournalPublication| matches!(it.outcome, PublishOutcome::Accepted(_));
    let publications = run.ledgers.iter().flat_map(|ledger| &ledger.publications);
    verdict.published = publications.filter(taken).count();
    for (client, journal) in run.journals.iter().enumerate() {
        let line = |when, entry: &Entry| run.line(when, entry);
        let written = (journal.client.as_str(), journal.entries.as_slice());
        verdict.findings.extend(unexpected_entries(written, &Violation::Breach, is_odd, line));
        verdict.findings.extend(slow::closes(journal, run));
        let channels: BTreeSet<_> =
            journal.entries.iter().filter_map(|(_, it)| it.channel()).collect();
        for channel in channels {
            let mut reader = ChannelAudit::new(run, &table, client, channel, &mut verdict);
            for (at, (when, entry)) in journal.entries.iter().enumerate() {
                if entry.channel().is_none_or(|it| it == channel) {
                    reader.read(at, *when, entry);
                }
            }
            reader.end();
        }
    }
    verdict
}

fn is_odd(entry: &Entry) -> bool {
    match entry {
        Entry::Unexpected(_) => true,
        Entry::Closed { why } => is_unexpected_close(why),
        _ => false,
    }
}
