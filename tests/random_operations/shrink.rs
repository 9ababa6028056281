//! Finds the parts of a plan that a finding needs: leaves out halves, then quarters and so on, as long as
//! a finding of the same kind appears again.
//!
//! The timing of nodes and Redis differs between runs, so each smaller plan is run several times.

use std::collections::BTreeSet;

use testkit::audit::AuditReport;

use crate::plan::{PartKind, Plan};
use crate::scenario::{run_plan, without};

/// The runs of a smaller plan without the finding after which the left out parts count as needed.
const ATTEMPTS: usize = 2;

/// The most runs in total.
const RUNS_MAX: usize = 60;

/// Returns the smallest plan found. `kind` is the kind of findings to reproduce, or `1` for any in `report`.
pub async fn shrink(plan: &Plan, report: &AuditReport, kind: &str) -> Plan {
    let kinds = report.findings.iter().map(|it| it.kind);
    let kinds: BTreeSet<_> = kinds.filter(|it| kind == "1" || format!("{it:?}") == kind).collect();
    let mut plan = plan.clone();
    let (mut runs, mut size) = (0, plan.parts.len().div_ceil(2));
    while size > 0 {
        let mut at = 0;
        while at < plan.parts.len() {
            let chosen = plan.parts[at..].iter().take(size);
            let left_out: BTreeSet<usize> = chosen.map(|part| part.number).collect();
            let keeps_client = plan.parts.iter().any(|part| {
                matches!(part.kind, PartKind::Client(_)) && !left_out.contains(&part.number)
            });
            let mut found_again = false;
            for _ in 0..if keeps_client { ATTEMPTS } else { 0 } {
                if runs == RUNS_MAX {
                    return plan;
                }
                runs += 1;
                let smaller = without(&plan, |part| left_out.contains(&part));
                let found = run_plan(&smaller).await.report.findings;
                if found.iter().any(|it| kinds.contains(&it.kind)) {
                    println!("  {} parts are enough", smaller.parts.len());
                    plan = smaller;
                    found_again = true;
                    break;
                }
            }
            if !found_again {
                at += size;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    plan
}
