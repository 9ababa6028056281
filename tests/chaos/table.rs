//! The result table: one row for each fault, and the findings in full.

use std::fmt;
use std::time::Duration;

use testkit::checker::{CheckReport, LogViolation};
use testkit::finding::render;

/// Findings of one kind shown in full for each row.
const FINDINGS_MAX: usize = 3;

pub struct Row {
    pub fault: &'static str,
    pub redis: &'static str,
    pub outcome: Outcome,
}

pub enum Outcome {
    Ran(Box<Run>),
    /// The system does not support the setup.
    Skipped(String),
    /// The run did not finish.
    Broken(String),
}

pub struct Run {
    pub check_report: CheckReport,
    pub recovery: Recovery,
    /// The reason why the publishers or subscribers did not recover.
    pub unsettled: Option<String>,
    /// The folder of the logs, if anything was found.
    pub logs: Option<String>,
}

/// Recovery times after the fault's end; the longest over all rounds.
#[derive(Default)]
pub struct Recovery {
    /// Until the first acknowledgement.
    first: Duration,
    /// Until every publisher had one.
    all: Duration,
    /// Until all nodes were ready.
    ready: Duration,
}

impl Recovery {
    pub fn record(&mut self, first: Duration, all: Duration, ready: Duration) {
        self.first = self.first.max(first);
        self.all = self.all.max(all);
        self.ready = self.ready.max(ready);
    }
}

impl Row {
    pub fn is_good(&self) -> bool {
        match &self.outcome {
            Outcome::Ran(run) => run.check_report.findings.is_empty() && run.unsettled.is_none(),
            Outcome::Skipped(_) => true,
            Outcome::Broken(_) => false,
        }
    }

    /// The findings: client, channel, numbers, and the log lines around them.
    pub fn details(&self) -> String {
        let mut text = String::new();
        let title = format!("{} ({})", self.fault, self.redis);
        match &self.outcome {
            Outcome::Skipped(_) => {}
            Outcome::Broken(why) => text += &format!("{title} failed: {why}\n"),
            Outcome::Ran(run) => {
                if let Some(why) = &run.unsettled {
                    text += &format!("{title}: {why}\n");
                }
                for kind in [
                    LogViolation::Loss,
                    LogViolation::Duplicate,
                    LogViolation::Disorder,
                    LogViolation::Breach,
                ] {
                    let title = format!("{title}: ");
                    text += &render(&run.check_report.findings, &kind, FINDINGS_MAX, &title);
                }
                if let Some(logs) = &run.logs {
                    text += &format!("{title}: the logs are in {logs}\n");
                }
            }
        }
        text
    }
}

/// The titles of the columns.
pub const TITLES: &str = "fault              redis     published  delivered  lost  twice  disorder  \
                          breach  repeats   gaps  of history  first ack  all acks  all ready";

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:<18} {:<8} ", self.fault, self.redis)?;
        match &self.outcome {
            Outcome::Skipped(why) => write!(f, "skipped: {why}"),
            Outcome::Broken(_) => write!(f, "BROKEN"),
            Outcome::Ran(run) => {
                let it = &run.check_report;
                let [lost, twice, disorder, breach] = [
                    LogViolation::Loss,
                    LogViolation::Duplicate,
                    LogViolation::Disorder,
                    LogViolation::Breach,
                ]
                .map(|kind| it.count(kind));
                write!(
                    f,
                    "{:>10} {:>10} {lost:>5} {twice:>6} {disorder:>9} {breach:>7} {:>8} {:>6} {:>11} {:>9.2}s {:>8.2}s {:>9.2}s",
                    it.acknowledged,
                    it.deliveries,
                    it.allowed_repeats,
                    it.gaps,
                    it.history_gaps,
                    run.recovery.first.as_secs_f64(),
                    run.recovery.all.as_secs_f64(),
                    run.recovery.ready.as_secs_f64(),
                )
            }
        }
    }
}
