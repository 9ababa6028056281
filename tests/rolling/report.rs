//! The report of a run and the faults found.

use std::fmt::Write;
use std::time::Duration;

use testkit::checker::{CheckReport, LogFinding, LogViolation};
use testkit::curve::{Curve, WINDOW};
use testkit::downtime::{downtimes, quantile};
use testkit::log::{PublisherLog, SubscriberLog};

use crate::balancer::BalancerRetries;
use crate::counters::Faults;
use crate::plan::Plan;
use crate::restart::Restart;

/// The most findings of one kind that are shown in full.
const FINDINGS_MAX: usize = 3;

/// The approximate number of rows of a curve.
const ROWS: u32 = 20;

/// The number of stars in the highest row.
const STARS: f64 = 40.;

/// The result of a run.
pub struct Report {
    pub plan: Plan,
    pub restarts: Vec<Restart>,
    pub check_report: CheckReport,
    pub sent: Vec<PublisherLog>,
    pub downtimes: Downtimes,
    /// The connections that a draining node closed after an `after_ms`, and without one.
    pub advised: [usize; 2],
    pub faults: Faults,
    pub retries: BalancerRetries,
    /// HAProxy's log.
    pub balancer: Vec<String>,
    /// The connections of each node at the end.
    pub connections: Vec<usize>,
    /// The reason why the run did not finish.
    pub unsettled: Option<String>,
}

/// The times for which clients were disconnected, sorted.
pub struct Downtimes(Vec<Duration>);

impl Downtimes {
    pub fn of(all: &[SubscriberLog], channels: usize) -> Self {
        let mut downtimes: Vec<_> = all.iter().flat_map(|seen| downtimes(seen, channels)).collect();
        downtimes.sort();
        Self(downtimes)
    }
}

/// The window of the limit, in seconds: one second, and the quarter of a second between two samples of the
/// survivors. The clients' lateness is added to it, because a machine that pauses piles up late clients.
const WINDOW_MAX: f64 = 1.25;

/// The most clients that may reconnect in one second when a node drains.
fn limit(cap: u32, restart: &Restart) -> f64 {
    f64::from(cap) * (WINDOW_MAX + restart.lateness.as_secs_f64())
}

impl Report {
    /// The faults found, one in each line; empty if there are none.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.unsettled.iter().cloned().collect();
        let cap = self.plan.length.reconnects_per_second();
        for restart in &self.restarts {
            let (node, limit) = (restart.node + 1, limit(cap, restart));
            let [due, opened, counted] = restart.peaks();
            for (peak, measure) in [
                (due, "were due to reconnect"),
                (opened, "reconnected"),
                (counted, "were counted by the other nodes"),
            ] {
                if peak > limit {
                    faults.push(format!(
                        "node {node}: {peak:.0} clients {measure} in one second, but the limit is {limit:.0}"
                    ));
                }
            }
        }
        if self.advised[1] > 0 {
            faults.push(format!("{} clients got no time to reconnect", self.advised[1]));
        }
        let Faults { refused, broken, reasons } = &self.faults;
        if refused + broken > 0 {
            faults.push(format!("{refused} handshakes failed, {broken} connections broke"));
            let lines = reasons.iter().chain(&self.balancer);
            faults.extend(lines.map(|it| format!("    {}", it.trim_end())));
        }
        for kind in [
            LogViolation::Loss,
            LogViolation::Duplicate,
            LogViolation::Disorder,
            LogViolation::Breach,
        ] {
            let all: Vec<&LogFinding> =
                self.check_report.findings.iter().filter(|it| it.kind == kind).collect();
            if !all.is_empty() {
                let publications: usize = all.iter().map(|it| it.count).sum();
                faults.push(format!("{kind:?}: {publications}, found {} times", all.len()));
            }
            for finding in all.iter().take(FINDINGS_MAX) {
                let LogFinding { client, channel, what, around, .. } = finding;
                faults.push(format!("    {client} on {channel}: {what}"));
                faults.extend(around.iter().map(|line| format!("        {line}")));
            }
        }
        faults
    }

    /// The figures as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("writing to a string does not fail");
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        for restart in &self.restarts {
            draw(restart, self.plan.length.reconnects_per_second(), out)?;
        }
        let publications = self.sent.iter().flat_map(|it| &it.publications);
        let repeated = publications.filter(|it| it.attempts > 1).count();
        let [lost, twice, disorder, breach] = [
            LogViolation::Loss,
            LogViolation::Duplicate,
            LogViolation::Disorder,
            LogViolation::Breach,
        ]
        .map(|kind| self.check_report.count(kind));
        let Self { check_report, advised, faults, retries, .. } = self;
        writeln!(out, "publications acknowledged  {}", check_report.acknowledged)?;
        writeln!(out, "  sent more than once      {repeated}")?;
        writeln!(out, "deliveries                 {}", check_report.deliveries)?;
        writeln!(out, "lost, twice, out of order  {lost}, {twice}, {disorder}")?;
        writeln!(out, "other breaches             {breach}")?;
        writeln!(out, "not recovered              {}", check_report.gaps)?;
        writeln!(out, "drained with after_ms      {} of {}", advised[0], advised[0] + advised[1])?;
        writeln!(out, "broken connections         {}", faults.broken)?;
        writeln!(out, "failed handshakes          {}", faults.refused)?;
        let BalancerRetries { retries, redispatches } = retries;
        writeln!(
            out,
            "  retried by HAProxy       {retries}, {redispatches} of them on another node"
        )?;
        let seconds = |part| quantile(&self.downtimes.0, part).as_secs_f64();
        let (p50, p99, max) = (seconds(0.5), seconds(0.99), seconds(1.));
        writeln!(out, "downtime: p50, p99, max    {p50:.2} s, {p99:.2} s, {max:.2} s")?;
        writeln!(out, "connections at the end     {:?}", self.connections)
    }
}

/// Draws the curve of the handshakes on the survivors.
fn draw(restart: &Restart, cap: u32, out: &mut String) -> std::fmt::Result {
    let Restart {
        node,
        connections,
        exited_after,
        replaced_after,
        resubscribed_after,
        survivors,
        ..
    } = restart;
    writeln!(
        out,
        "node {} drained {connections} connections: it exited after {:.1} s, the new node was in use after {:.1} s, \
         all clients were subscribed again after {:.1} s",
        node + 1,
        exited_after.as_secs_f64(),
        replaced_after.as_secs_f64(),
        resubscribed_after.as_secs_f64(),
    )?;
    let step = row_time(*resubscribed_after);
    let nodes: Vec<Curve> = survivors.iter().map(|(_, it)| it.opened()).collect();
    let rates = |row: u32| -> Vec<f64> {
        let rate = |it: &Curve| it.between(step * row, step * (row + 1)) / step.as_secs_f64();
        nodes.iter().chain([&restart.reconnected]).map(rate).collect()
    };
    let rows: Vec<_> =
        (0..).take_while(|row| step * *row < *resubscribed_after).map(rates).collect();
    let on_survivors = |rates: &[f64]| rates[..nodes.len()].iter().sum::<f64>();
    let highest = rows.iter().map(|it| on_survivors(it)).fold(1., f64::max);
    write!(out, "    from")?;
    survivors.iter().try_for_each(|(number, _)| write!(out, "  node {}", number + 1))?;
    writeln!(out, "     all  new handshakes a second; the bars show those on the other nodes")?;
    for (row, rates) in (0..).zip(rows) {
        write!(out, "{:6.1} s", (step * row).as_secs_f64())?;
        rates.iter().try_for_each(|it| write!(out, "{it:8.1}"))?;
        let stars = (on_survivors(&rates) / highest * STARS).round() as usize;
        writeln!(out, "{}{}", if stars > 0 { "  " } else { "" }, "*".repeat(stars))?;
    }
    let [due, opened, counted] = restart.peaks();
    writeln!(
        out,
        "    most in any {} s: {due:.0} due to reconnect, {opened:.0} reconnected, {counted:.0} on the other nodes; \
         clients were {:.2} s late (p99), so the limit is {:.0}",
        WINDOW.as_secs(),
        restart.lateness.as_secs_f64(),
        limit(cap, restart),
    )?;
    for (number, it) in survivors {
        let (connections, memory) = (it.connections_max(), it.memory_max());
        write!(
            out,
            "    node {}: up to {connections:.0} connections, {memory:.0} MiB",
            number + 1
        )?;
        it.cores().map_or(Ok(()), |cores| write!(out, ", {cores:.2} cores"))?;
        writeln!(out)?;
    }
    writeln!(out)
}

/// The time of one row of the curve: a round number.
fn row_time(resubscribed_after: Duration) -> Duration {
    const ROUND: [u64; 6] = [250, 500, 1000, 2000, 5000, 10_000];
    let rows = |millis: &&u64| Duration::from_millis(**millis) * ROWS >= resubscribed_after;
    Duration::from_millis(*ROUND.iter().find(rows).unwrap_or(&ROUND[5]))
}
