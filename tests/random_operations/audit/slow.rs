//! Clients that were closed as slow consumers, and are not.

use std::time::Duration;

use super::{Finding, Kind, Run};
use crate::channels::QUEUE_BYTES_MAX;
use crate::journal::{Entry, Journal};

/// How far back something may wait in a queue.
const WAITS_MAX: Duration = Duration::from_secs(3);

/// What the envelope of a publication adds to its payload, at most.
const ENVELOPE: usize = 400;

/// A queue has its bound for clients that do not read. One that reads is closed only where more than the
/// queue takes was published in a short time; a single publication beyond the bound makes no client slow.
pub fn closes(journal: &Journal, run: &Run) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut paused = false;
    for (when, entry) in &journal.entries {
        match entry {
            Entry::Opened { .. } | Entry::OpenedPlain(_) => paused = false,
            Entry::Paused(_) => paused = true,
            Entry::Closed { why } if why.starts_with("4008") && !paused => {
                let ledgers = run.ledgers.iter().flat_map(|ledger| &ledger.publications);
                let recent = ledgers
                    .filter(|it| it.begun <= *when && it.begun + WAITS_MAX >= *when)
                    .filter(|it| it.bytes < QUEUE_BYTES_MAX);
                let bytes: usize = recent.map(|it| it.bytes + ENVELOPE).sum();
                if bytes < QUEUE_BYTES_MAX / 2 {
                    findings.push(Finding {
                        kind: Kind::Slow,
                        client: journal.client.clone(),
                        channel: "no channel".to_owned(),
                        count: 1,
                        what: format!(
                            "{}, after {bytes} bytes at most on all channels in {WAITS_MAX:?}",
                            entry.line(when.duration_since(run.begun), run.channels)
                        ),
                        around: Vec::new(),
                    });
                }
            }
            _ => {}
        }
    }
    findings
}
