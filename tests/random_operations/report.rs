//! How findings are shown.

use testkit::audit::{AuditReport, Violation};
use testkit::finding::render;

/// Findings of one kind shown in full, a run.
const SHOWN_MAX: usize = 2;

const KINDS: [Violation; 11] = [
    Violation::Loss,
    Violation::FalseRecovery,
    Violation::Twice,
    Violation::Disorder,
    Violation::Stale,
    Violation::Stray,
    Violation::Behind,
    Violation::Slow,
    Violation::NeedlessGap,
    Violation::Breach,
    Violation::Unsettled,
];

/// One line: how much was tried, and what was found.
pub fn summary(verdict: &AuditReport) -> String {
    let mut text = format!(
        "published {:>5}  delivered {:>6}  subscriptions {:>5}  resumed {:>4}  gaps {:>4} ",
        verdict.published, verdict.deliveries, verdict.subscriptions, verdict.resumed, verdict.gaps
    );
    for kind in KINDS {
        let count = verdict.count(kind);
        if count > 0 {
            text += &format!(" {kind:?} {count}");
        }
    }
    text
}

/// The first findings of each kind, in full.
pub fn details(verdict: &AuditReport) -> String {
    KINDS.iter().map(|kind| render(&verdict.findings, kind, SHOWN_MAX, "")).collect()
}
