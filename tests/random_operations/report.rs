//! Prints findings.

use testkit::audit::{AuditReport, Violation};
use testkit::finding::render;

/// The most findings of one kind that are shown in full for each run.
const SHOWN_MAX: usize = 2;

const VIOLATIONS: [Violation; 12] = [
    Violation::Loss,
    Violation::FalseRecovery,
    Violation::Twice,
    Violation::Disorder,
    Violation::Stale,
    Violation::Stray,
    Violation::Behind,
    Violation::Slow,
    Violation::NeedlessGap,
    Violation::End,
    Violation::Breach,
    Violation::Unsettled,
];

/// One line: the seed, and the number of operations and of findings.
pub fn line(seed: u64, report: &AuditReport) -> String {
    let mut text = format!(
        "seed {seed:>10}  published {:>5}  delivered {:>6}  subscriptions {:>5}  resumed {:>4}  gaps {:>4}  ends {:>4} ",
        report.published,
        report.deliveries,
        report.subscriptions,
        report.resumed,
        report.gaps,
        report.ends
    );
    for kind in VIOLATIONS {
        let count = report.count(kind);
        if count > 0 {
            text += &format!(" {kind:?} {count}");
        }
    }
    text
}

/// The first findings of each kind, in full.
pub fn details(report: &AuditReport) -> String {
    VIOLATIONS.iter().map(|kind| render(&report.findings, kind, SHOWN_MAX, "")).collect()
}
