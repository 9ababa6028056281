//! Clients that were closed as slow consumers, and are not.

use std::time::{Duration, Instant};

use super::{AuditFinding, AuditRun, Violation};
use crate::audit::channels::QUEUE_BYTES_MAX;
use crate::audit::journal::{ClientJournal, Entry, JournalPublication};

/// How far back something may wait in a queue.
const WAITS_MAX: Duration = Duration::from_secs(6);

/// What the envelope of a publication adds to its payload, at most.
const ENVELOPE: usize = 400;

/// A queue has its bound for clients that do not read. One that reads is closed only where more than the
/// queue takes was published in a short time. One publication beyond the bound makes no client slow; behind
/// another one it may wait until the queue is full.
pub fn closes(journal: &ClientJournal, run: &AuditRun) -> Vec<AuditFinding> {
    let mut findings = Vec::new();
    let mut paused = false;
    for (when, entry) in &journal.entries {
        match entry {
            Entry::Opened { .. } | Entry::OpenedPlain(_) => paused = false,
            Entry::Paused(_) => paused = true,
            Entry::Closed { why } if why.starts_with("4008") && !paused => {
                let Some(bytes) = too_few_bytes(*when, run) else { continue };
                let line = run.line(*when, entry);
                findings.push(AuditFinding {
                    kind: Violation::Slow,
                    client: journal.client.clone(),
                    channel: "no channel".to_owned(),
                    count: 1,
                    what: format!("{line}, after {bytes} bytes on all channels in {WAITS_MAX:?}"),
                    around: Vec::new(),
                });
            }
            _ => {}
        }
    }
    findings
}

/// What was published on all channels before the moment, where that is too little to fill a queue.
fn too_few_bytes(when: Instant, run: &AuditRun) -> Option<usize> {
    let all = run.ledgers.iter().flat_map(|ledger| &ledger.publications);
    let recent = all.filter(|it| it.started <= when && it.started + WAITS_MAX >= when);
    let (large, small): (Vec<&JournalPublication>, Vec<&JournalPublication>) =
        recent.partition(|it| it.bytes >= QUEUE_BYTES_MAX);
    let bytes: usize = small.iter().map(|it| it.bytes + ENVELOPE).sum();
    (bytes < QUEUE_BYTES_MAX / 2 && large.len() < 2).then_some(bytes)
}
