//! Finds the parts of a plan that a finding needs: halves, then quarters and so on are left out as long as
//! a finding of the same kind comes again.
//!
//! Runs are not the same twice, as nodes and Redis have their own time; so each attempt has a few tries.

use std::collections::BTreeSet;

use testkit::audit::AuditReport;

use crate::plan::{Plan, What};
use crate::play::{play, without};

/// Tries of a smaller plan before its parts are taken to be needed.
const TRIES: usize = 2;

/// Most runs in all.
const RUNS_MAX: usize = 60;

/// `kind` names the kind of findings that are looked for, or is `1` for any that were found.
pub async fn shrink(plan: &Plan, verdict: &AuditReport, kind: &str) -> Plan {
    let kinds = verdict.findings.iter().map(|it| it.kind);
    let kinds: BTreeSet<_> = kinds.filter(|it| kind == "1" || format!("{it:?}") == kind).collect();
    let mut plan = plan.clone();
    let (mut runs, mut size) = (0, plan.parts.len().div_ceil(2));
    while size > 0 {
        let mut at = 0;
        while at < plan.parts.len() {
            let chosen = plan.parts[at..].iter().take(size);
            let left_out: BTreeSet<usize> = chosen.map(|part| part.number).collect();
            let keeps_client = plan.parts.iter().any(|part| {
                matches!(part.what, What::Client(_)) && !left_out.contains(&part.number)
            });
            let mut again = false;
            for _ in 0..if keeps_client { TRIES } else { 0 } {
                if runs == RUNS_MAX {
                    return plan;
                }
                runs += 1;
                let smaller = without(&plan, |part| left_out.contains(&part));
                let found = play(&smaller).await.verdict.findings;
                if found.iter().any(|it| kinds.contains(&it.kind)) {
                    println!("  {} parts are enough", smaller.parts.len());
                    plan = smaller;
                    again = true;
                    break;
                }
            }
            if !again {
                at += size;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    plan
}
