//! What came of the run, in words, and what of it must not be.

use std::fmt::Write;
use std::time::Duration;

use testkit::checker::{CheckReport, LogFinding, LogViolation};
use testkit::curve::{Curve, WINDOW};
use testkit::downtime::{downtimes, quantile};
use testkit::log::{PublisherLog, SubscriberLog};

use crate::balancer::Retries;
use crate::plan::Plan;
use crate::restart::Restart;
use crate::tally::Faults;

/// Findings of one kind shown in full.
const FINDINGS_MAX: usize = 3;

/// Rows of a drawn curve, about.
const ROWS: u32 = 20;

/// Stars of the highest row.
const STARS: f64 = 40.;

/// All that is said of a run.
pub struct Report {
    pub plan: Plan,
    pub restarts: Vec<Restart>,
    pub verdict: CheckReport,
    pub sent: Vec<PublisherLog>,
    pub away: Downtimes,
    /// Connections that were closed with word when to come back, and without.
    pub advised: [usize; 2],
    pub faults: Faults,
    pub trouble: Retries,
    /// What HAProxy said of nodes that came and went.
    pub balancer: Vec<String>,
    /// Connections of each node in the end.
    pub spread: Vec<usize>,
    /// What kept it from its end.
    pub unsettled: Option<String>,
}

/// How long clients were away, sorted.
pub struct Downtimes(Vec<Duration>);

impl Downtimes {
    pub fn of(all: &[SubscriberLog], channels: usize) -> Self {
        let mut away: Vec<_> = all.iter().flat_map(|seen| downtimes(seen, channels)).collect();
        away.sort();
        Self(away)
    }
}

/// What a second may bring, in seconds of the cap. A quarter of one is how far apart the looks at the
/// survivors are; what clients are late by comes on top, since a machine that stands still for a moment
/// piles them up.
const WINDOW_MAX: f64 = 1.25;

/// Most clients that may come in a second when a node leaves.
fn limit(cap: u32, restart: &Restart) -> f64 {
    f64::from(cap) * (WINDOW_MAX + restart.lateness.as_secs_f64())
}

impl Report {
    /// What must not be, a line each; none: all is well.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.unsettled.iter().cloned().collect();
        let cap = self.plan.length.reconnects_per_second();
        for restart in &self.restarts {
            let (node, limit) = (restart.node + 1, limit(cap, restart));
            let [told, back, counted] = restart.peaks();
            for (peak, what) in
                [(told, "told to be back"), (back, "back"), (counted, "counted by the survivors")]
            {
                if peak > limit {
                    faults.push(format!(
                        "node {node} left: {peak:.0} clients {what} in a second, where {limit:.0} may"
                    ));
                }
            }
        }
        if self.advised[1] > 0 {
            faults.push(format!("{} were not told when to come back", self.advised[1]));
        }
        let Faults { refused, broken, reasons } = &self.faults;
        if refused + broken > 0 {
            faults.push(format!("{refused} handshakes failed, {broken} connections broke"));
            let said = reasons.iter().chain(&self.balancer);
            faults.extend(said.map(|it| format!("    {}", it.trim_end())));
        }
        for kind in [
            LogViolation::Loss,
            LogViolation::Duplicate,
            LogViolation::Disorder,
            LogViolation::Breach,
        ] {
            let all: Vec<&LogFinding> =
                self.verdict.findings.iter().filter(|it| it.kind == kind).collect();
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

    /// The figures.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes everything");
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        for restart in &self.restarts {
            draw(restart, self.plan.length.reconnects_per_second(), out)?;
        }
        let publications = self.sent.iter().flat_map(|it| &it.publications);
        let again = publications.filter(|it| it.attempts > 1).count();
        let [lost, twice, disorder, breach] = [
            LogViolation::Loss,
            LogViolation::Duplicate,
            LogViolation::Disorder,
            LogViolation::Breach,
        ]
        .map(|kind| self.verdict.count(kind));
        let Self { verdict, advised, faults, trouble, .. } = self;
        writeln!(out, "publications acknowledged  {}", verdict.acknowledged)?;
        writeln!(out, "  sent more than once      {again}")?;
        writeln!(out, "deliveries                 {}", verdict.deliveries)?;
        writeln!(out, "lost, twice, disorder      {lost}, {twice}, {disorder}")?;
        writeln!(out, "other breaches             {breach}")?;
        writeln!(out, "not recovered              {}", verdict.gaps)?;
        writeln!(out, "drained, told when to come {} of {}", advised[0], advised[0] + advised[1])?;
        writeln!(out, "broken connections         {}", faults.broken)?;
        writeln!(out, "failed handshakes          {}", faults.refused)?;
        let Retries { retries, redispatches } = trouble;
        writeln!(out, "  retried by HAProxy       {retries}, {redispatches} of them elsewhere")?;
        let seconds = |part| quantile(&self.away.0, part).as_secs_f64();
        let (p50, p99, max) = (seconds(0.5), seconds(0.99), seconds(1.));
        writeln!(out, "away: p50, p99, max        {p50:.2} s, {p99:.2} s, {max:.2} s")?;
        writeln!(out, "connections in the end     {:?}", self.spread)
    }
}

/// The curve of the survivors.
fn draw(restart: &Restart, cap: u32, out: &mut String) -> std::fmt::Result {
    let Restart { node, held, left, replaced, whole, survivors, .. } = restart;
    writeln!(
        out,
        "node {} leaves with {held} connections: it ended after {:.1} s, a new one took clients after {:.1} s, \
         all were back after {:.1} s",
        node + 1,
        left.as_secs_f64(),
        replaced.as_secs_f64(),
        whole.as_secs_f64(),
    )?;
    let step = row_time(*whole);
    let nodes: Vec<Curve> = survivors.iter().map(|(_, it)| it.opened()).collect();
    let rates = |row: u32| -> Vec<f64> {
        let rate = |it: &Curve| it.between(step * row, step * (row + 1)) / step.as_secs_f64();
        nodes.iter().chain([&restart.reconnected]).map(rate).collect()
    };
    let rows: Vec<_> = (0..).take_while(|row| step * *row < *whole).map(rates).collect();
    let on_survivors = |rates: &[f64]| rates[..nodes.len()].iter().sum::<f64>();
    let highest = rows.iter().map(|it| on_survivors(it)).fold(1., f64::max);
    write!(out, "    from")?;
    survivors.iter().try_for_each(|(number, _)| write!(out, "  node {}", number + 1))?;
    writeln!(out, "     all  new handshakes a second, drawn those on the survivors")?;
    for (row, rates) in (0..).zip(rows) {
        write!(out, "{:6.1} s", (step * row).as_secs_f64())?;
        rates.iter().try_for_each(|it| write!(out, "{it:8.1}"))?;
        let stars = (on_survivors(&rates) / highest * STARS).round() as usize;
        writeln!(out, "{}{}", if stars > 0 { "  " } else { "" }, "*".repeat(stars))?;
    }
    let [told, back, counted] = restart.peaks();
    writeln!(
        out,
        "    most in any {} s: {told:.0} told to be back, {back:.0} back, {counted:.0} on the survivors; \
         p99 was {:.2} s late, so {:.0} may be",
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

/// What a row of the curve stands for: a round time.
fn row_time(whole: Duration) -> Duration {
    const ROUND: [u64; 6] = [250, 500, 1000, 2000, 5000, 10_000];
    let rows = |millis: &&u64| Duration::from_millis(**millis) * ROWS >= whole;
    Duration::from_millis(*ROUND.iter().find(rows).unwrap_or(&ROUND[5]))
}
