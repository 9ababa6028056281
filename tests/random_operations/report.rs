//! How findings are shown.

use std::fmt;

use crate::audit::{Finding, Kind, Verdict};

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

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "{:?}: {} on {}: {}", self.kind, self.client, self.channel, self.what)?;
        self.around.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

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
    let mut text = String::new();
    for kind in KINDS {
        let all: Vec<&Finding> = verdict.findings.iter().filter(|it| it.kind == kind).collect();
        for finding in all.iter().take(SHOWN_MAX) {
            text += &finding.to_string();
        }
        if all.len() > SHOWN_MAX {
            text += &format!("{kind:?}: {} more times\n", all.len() - SHOWN_MAX);
        }
    }
    text
}
