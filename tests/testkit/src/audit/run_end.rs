//! Checks the ends of runs: to every subscriber, once, after the last publication and before nothing.

use super::reader::ChannelAudit;
use super::subscription::Subscription;
use super::table::{PositionTable, fleet_finding};
use super::{AuditReport, AuditRun, Violation};
use crate::audit::channels::{ChannelNumber, HistoryKind};
use crate::audit::journal::{HistoryReply, PublishOutcome, RunCall};
use crate::log::Position;

/// The reason of a run whose lease is over.
const ABANDONED: &str = "abandoned";

/// Checks what the journals of all clients say together. A Redis that has lost its data begins its runs again.
pub fn check_ends(run: &AuditRun<'_>, table: &PositionTable<'_>, report: &mut AuditReport) {
    for (channel, audited) in run.channels.iter().enumerate() {
        let ends: Vec<(Position, &str)> = table.ends(channel).collect();
        let mut report_end = |what: String| {
            report.findings.push(fleet_finding(run, channel, Violation::End, what));
        };
        for (position, reason) in &ends {
            let is_wanted = |it: &RunCall| matches!(it, RunCall::End(wanted) if wanted == reason);
            let wanted = run.calls.iter().any(|it| it.channel == channel && is_wanted(&it.call));
            let abandoned = audited.kind == HistoryKind::Leased && *reason == ABANDONED;
            if !wanted && !abandoned {
                report_end(format!(
                    "the run ended at {position} for a reason of no worker: {reason}"
                ));
            }
            if let Some((after, name)) = table.between(channel, *position, None).next()
                && !run.data_lost
            {
                report_end(format!(
                    "{}/{} is at {after}, after the end {position}",
                    name.0, name.1
                ));
            }
        }
        if run.data_lost {
            continue;
        }
        if ends.len() > 1 {
            report_end(format!("the run has several ends: {ends:?}"));
        }
        calls_after_end(run, channel).into_iter().for_each(report_end);
    }
}

/// The calls and publications that were accepted although they began after an end was.
fn calls_after_end(run: &AuditRun<'_>, channel: ChannelNumber) -> Vec<String> {
    let is_accepted = |outcome| matches!(outcome, PublishOutcome::Accepted(_));
    let of_channel =
        || run.calls.iter().filter(|it| it.channel == channel && is_accepted(it.outcome));
    let ends = of_channel().filter(|it| matches!(it.call, RunCall::End(_)));
    let Some(ended) = ends.map(|it| it.ended).min() else { return Vec::new() };
    let late_calls =
        of_channel().filter(|it| it.started > ended).map(|it| format!("{:?}", it.call));
    let publishers = run.ledgers.iter().filter(|ledger| ledger.channel == channel);
    let late = publishers.flat_map(|ledger| &ledger.publications);
    let late = late.filter(|it| it.started > ended && it.attempts == 1 && is_accepted(it.outcome));
    let late = late.map(|_| "a publication".to_owned());
    late_calls.chain(late).map(|what| format!("{what} was accepted after the end")).collect()
}

impl ChannelAudit<'_> {
    pub(super) fn ended(&mut self, at: usize, told: Option<Position>) {
        self.report.ends += 1;
        let Some(subscription) = &mut self.subscription else {
            let what = "an end without a subscription".to_owned();
            return self.report(Violation::Stray, at, 1, what);
        };
        let is_again = std::mem::replace(&mut subscription.has_ended, true);
        let may_repeat = std::mem::take(&mut subscription.end_may_repeat);
        let Subscription { latest, last, complete, recovered, .. } = *subscription;
        if is_again && !may_repeat {
            self.report(Violation::End, at, 1, "the end came twice".to_owned());
        }
        let Some(position) = told else {
            return self.report(Violation::End, at, 1, "the end has no position".to_owned());
        };
        if let Some(latest) = latest.filter(|latest| *latest >= position) {
            let what = format!("the end at {position} came after {latest}");
            return self.report(Violation::Disorder, at, 1, what);
        }
        if let Some(last) = last.filter(|last| complete && *last < position) {
            self.check_between(at, (last, position), true, latest.is_none() && !recovered);
        }
        if let Some(subscription) = &mut self.subscription {
            subscription.last = subscription.last.max(Some(position));
        }
        self.furthest = self.furthest.max(Some(position));
    }

    /// A subscriber at the end of the journal knows that the run has ended.
    pub(super) fn check_has_ended(&mut self) {
        let is_due = self.kind().is_run() && self.journal.settled;
        let misses = self.subscription.as_ref().is_some_and(|it| it.complete && !it.has_ended);
        if is_due && misses {
            let at = self.journal.entries.len();
            self.report(Violation::End, at, 1, "the end did not arrive".to_owned());
        }
    }

    /// A subscription from the first publication on, whatever its position is.
    pub(super) fn begin_at_first(
        &mut self,
        at: usize,
        subscription: &mut Subscription,
        recovered: Option<bool>,
    ) {
        (self.furthest, subscription.recovered) = (None, recovered == Some(true));
        self.received.clear();
        self.newest.clear();
        if self.run.data_lost || !self.kind().is_run() {
            return;
        }
        match recovered {
            Some(true) => {
                self.report.resumed += 1;
                subscription.started = self.run.started;
            }
            _ => {
                let what = "the run is not kept from its first publication on".to_owned();
                self.report(Violation::NeedlessGap, at, 1, what);
            }
        }
    }

    /// A reply that extends to the end of a run says so, and no other does.
    pub(super) fn check_history_end(&mut self, at: usize, excerpt: &HistoryReply) {
        let Some(position) = excerpt.position else { return };
        let end = self.table.ends(self.channel).find(|(end, _)| *end == position);
        let (expected, told) = (end.map(|(_, reason)| reason), excerpt.ended.as_deref());
        if expected != told {
            let what = format!("history up to {position} has the end {told:?}, not {expected:?}");
            self.report(Violation::End, at, 1, what);
        }
    }
}
