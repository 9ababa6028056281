//! Finds clients that were closed as slow consumers although they read.

use std::time::{Duration, Instant};

use super::{AuditFinding, AuditRun, Violation};
use crate::audit::channels::QUEUE_BYTES_MAX;
use crate::audit::journal::{ClientJournal, Entry, JournalPublication};

/// The longest time that a publication may stay in a queue.
const WAITS_MAX: Duration = Duration::from_secs(6);

/// The most bytes that a publication's envelope adds to its payload.
const ENVELOPE: usize = 400;

/// A client that reads may be closed as slow only if more bytes than the queue holds were published in a
/// short time. A single publication above the bound makes no client slow; behind another large one it may
/// wait until the queue is full.
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

/// The bytes published on all channels shortly before `when`, if they are too few to fill a queue.
fn too_few_bytes(when: Instant, run: &AuditRun) -> Option<usize> {
    let all = run.ledgers.iter().flat_map(|ledger| &ledger.publications);
    let recent = all.filter(|it| it.started <= when && it.started + WAITS_MAX >= when);
    let (large, small): (Vec<&JournalPublication>, Vec<&JournalPublication>) =
        recent.partition(|it| it.bytes >= QUEUE_BYTES_MAX);
    let bytes: usize = small.iter().map(|it| it.bytes + ENVELOPE).sum();
    (bytes < QUEUE_BYTES_MAX / 2 && large.len() < 2).then_some(bytes)
}
