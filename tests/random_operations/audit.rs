//! Says from the journals alone whether the promises were kept: in order, once, missing only with a gap
//! told, `recovered: true` only if it is true, nothing outside a subscription.
//!
//! Of a channel without history, a doubtful publication, and a plain `PUBLISH` into a channel with history
//! less is promised, and the audit asks for no more: `missing` says what.

// Spelt out, because `proof.rs` takes this file from where it is too.
#[path = "audit/delivery.rs"]
mod delivery;
#[path = "audit/history.rs"]
mod history;
#[path = "audit/missing.rs"]
mod missing;
#[path = "audit/reader.rs"]
mod reader;
#[path = "audit/slow.rs"]
mod slow;
#[path = "audit/subscription.rs"]
mod subscription;
#[path = "audit/table.rs"]
mod table;

use std::collections::BTreeSet;
use std::time::Instant;

use crate::channels::Channel;
use crate::journal::{Entry, Journal, Ledger, Outcome, Publication};
use reader::Reader;
use table::Table;

/// Close codes that no operation here explains.
const UNEXPECTED_CLOSES: [&str; 5] = ["1002", "1003", "1007", "1008", "1011"];

/// All journals and ledgers of a run, and what its faults may have done.
pub struct Run<'a> {
    pub channels: &'a [Channel],
    /// By publisher.
    pub ledgers: &'a [Ledger],
    pub journals: &'a [Journal],
    /// What times are shown from.
    pub begun: Instant,
    /// Redis, or the node with the memory broker, lost all it kept at least once.
    pub amnesia: bool,
    /// A node's connection to Redis may have broken, or a node may have been late to read.
    pub interrupted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
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

#[derive(Clone, Debug)]
pub struct Finding {
    pub kind: Kind,
    pub client: String,
    pub channel: String,
    /// How many publications it is about.
    pub count: usize,
    pub what: String,
    /// The lines of the journal around it.
    pub around: Vec<String>,
}

/// What the journals say.
#[derive(Debug, Default)]
pub struct Verdict {
    pub findings: Vec<Finding>,
    pub published: usize,
    pub deliveries: usize,
    pub subscriptions: usize,
    pub resumed: usize,
    pub gaps: usize,
}

impl Verdict {
    pub fn count(&self, kind: Kind) -> usize {
        self.findings.iter().filter(|it| it.kind == kind).map(|it| it.count).sum()
    }
}

pub fn audit(run: &Run) -> Verdict {
    let mut verdict = Verdict::default();
    let table = Table::new(run, &mut verdict.findings);
    let taken = |it: &&Publication| matches!(it.outcome, Outcome::Taken(_));
    let publications = run.ledgers.iter().flat_map(|ledger| &ledger.publications);
    verdict.published = publications.filter(taken).count();
    for (client, journal) in run.journals.iter().enumerate() {
        verdict.findings.extend(oddities(journal, run));
        verdict.findings.extend(slow::closes(journal, run));
        let channels: BTreeSet<_> =
            journal.entries.iter().filter_map(|(_, it)| it.channel()).collect();
        for channel in channels {
            let mut reader = Reader::new(run, &table, client, channel, &mut verdict);
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

/// What concerns no channel: a fault in the node, an answer that nothing explains.
fn oddities(journal: &Journal, run: &Run) -> Vec<Finding> {
    let odd = |entry: &Entry| match entry {
        Entry::Odd(_) => true,
        Entry::Closed { why } => UNEXPECTED_CLOSES.iter().any(|code| why.starts_with(code)),
        _ => false,
    };
    let all = journal.entries.iter().filter(|(_, entry)| odd(entry));
    all.map(|(when, entry)| Finding {
        kind: Kind::Breach,
        client: journal.client.clone(),
        channel: "no channel".to_owned(),
        count: 1,
        what: entry.line(when.duration_since(run.begun), run.channels),
        around: Vec::new(),
    })
    .collect()
}
