//! How findings are shown.

use testkit::audit::{Kind, Verdict};
use testkit::finding::shown;

/// Findings of one kind shown in full, a run.
const SHOWN_MAX: usize = 2;

const KINDS: [Kind; 11] = [
    Kind::Loss,
    Kind::FalseRecovery,
    Kind::Twice,
    Kind::Disorder,
    Kind::Stale,
    Kind::Stray,
    Kind::Behind,
    Kind::Slow,
    Kind::NeedlessGap,
    Kind::Breach,
    Kind::Unsettled,
];

/// One line: how much was tried, and what was found.
pub fn summary(verdict: &Verdict) -> String {
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
pub fn details(verdict: &Verdict) -> String {
    KINDS.iter().map(|kind| shown(&verdict.findings, kind, SHOWN_MAX, "")).collect()
}
