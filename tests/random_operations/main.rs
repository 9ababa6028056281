//! Random operations: real nodes on a real Redis, with every operation of clients, publishers and operators
//! mixed with every fault, generated from a seed. Afterwards the audit checks the journals of all clients: in
//! order, once, no loss without a reported gap, and correct `recovered: true`. `docs/operating/testing.md` says how
//! to run it.
//!
//! | file | holds |
//! | --- | --- |
//! | `plan` | the plan of a run, generated from its seed |
//! | `stage` `directory` | Redis and the nodes, the faults, and the nodes' addresses |
//! | `client` `publisher` `worker` `http_post` | subscribers, publishers, and workers of runs |
//! | `record` | the journals while they are written |
//! | `scenario` | one run |
//! | `shrink` | finds the parts of a plan that a finding needs |
//! | `report` | the printed result |
//!
//! Channels, journals and the audit are in `testkit`.

mod client;
mod directory;
mod http_post;
mod plan;
mod publisher;
mod record;
mod report;
mod scenario;
mod shrink;
mod stage;
mod worker;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt, stream};
use tokio::signal::unix::{SignalKind, signal};

use crate::plan::Plan;
use crate::scenario::{Outcome, run_plan, without};

/// The settings from the environment.
struct Arguments {
    /// The first seed, and the number of seeds.
    seed: u64,
    seeds: u64,
    /// The runs of each seed. The timing of nodes and Redis differs between runs.
    times: u64,
    /// The number of runs at the same time.
    parallel: usize,
    /// The duration of the operations in each run.
    time: Duration,
    /// How many of the first parts of a plan are executed.
    operations: usize,
    /// The numbers of the parts that are left out.
    without: Vec<usize>,
    /// The kind of findings for which a smaller plan is searched, or `1` for any kind.
    shrink: Option<String>,
}

fn main() -> ExitCode {
    let arguments = match Arguments::from_environment() {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be waited for");
        let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be waited for");
        // Dropping the run ends all its processes.
        tokio::select! {
            code = run(arguments) => code,
            _ = interrupt.recv() => ExitCode::from(130),
            _ = terminate.recv() => ExitCode::from(143),
        }
    })
}

impl Arguments {
    fn from_environment() -> Result<Self, String> {
        fn number(name: &str) -> Result<Option<u64>, String> {
            match std::env::var(name) {
                Ok(text) if !text.is_empty() => match text.parse() {
                    Ok(number) => Ok(Some(number)),
                    Err(_) => Err(format!("{name}={text} is not a number")),
                },
                _ => Ok(None),
            }
        }
        let seeds = number("SEEDS")?;
        let drawn = u64::from(rand::random::<u32>());
        let without = std::env::var("WITHOUT").unwrap_or_default();
        let parts = without.split([',', ' ']).filter(|it| !it.is_empty());
        let parts = parts.map(|it| it.parse().map_err(|_| format!("WITHOUT={without}")));
        Ok(Self {
            seed: number("SEED")?.unwrap_or(drawn),
            seeds: seeds.unwrap_or(1),
            times: number("TIMES")?.unwrap_or(1),
            parallel: number("PARALLEL")?.unwrap_or(1).clamp(1, 16) as usize,
            time: Duration::from_millis(number("MILLISECONDS")?.unwrap_or(5000)),
            operations: number("OPS")?.map_or(usize::MAX, |it| it as usize),
            without: parts.collect::<Result<_, _>>()?,
            shrink: std::env::var("SHRINK").ok().filter(|it| !it.is_empty()),
        })
    }

    fn plan(&self, seed: u64) -> Plan {
        let left_out = |part: usize| part >= self.operations || self.without.contains(&part);
        without(&Plan::of(seed, self.time), left_out)
    }
}

async fn run(arguments: Arguments) -> ExitCode {
    let started = Instant::now();
    println!("SEED={} SEEDS={} PARALLEL={}", arguments.seed, arguments.seeds, arguments.parallel);
    let each = |seed| std::iter::repeat_n(seed, arguments.times as usize);
    let seeds = (arguments.seed..arguments.seed + arguments.seeds).flat_map(each);
    // All runs share this task, because their futures are not `Send`.
    let mut runs = stream::iter(seeds)
        .map(|seed| {
            AssertUnwindSafe(run_seed(&arguments, seed)).catch_unwind().map(move |it| (seed, it))
        })
        .buffer_unordered(arguments.parallel);
    let (mut bad, mut deliveries) = (Vec::new(), 0);
    let mut findings = String::new();
    while let Some((seed, run)) = runs.next().await {
        match run {
            Ok(outcome) => {
                deliveries += outcome.report.deliveries;
                if let Some(found) = described(seed, &outcome) {
                    bad.push(seed);
                    findings += &found;
                }
            }
            Err(_) => {
                println!("seed {seed:>10}  failed with a panic, shown above");
                bad.push(seed);
            }
        }
    }
    // Once more at the end, because a CI log shows only its last lines.
    print!("{findings}");
    let took = started.elapsed().as_secs();
    println!("{} seeds in {took} s, {deliveries} deliveries", arguments.seeds);
    if bad.is_empty() {
        return ExitCode::SUCCESS;
    }
    bad.sort_unstable();
    bad.dedup();
    println!("{} seeds with findings: {bad:?}", bad.len());
    println!(
        "to repeat: SEED=number SEEDS=1 TIMES=10 make random; to reduce the plan: OPS=parts, WITHOUT=part,part, SHRINK=1"
    );
    ExitCode::FAILURE
}

async fn run_seed(arguments: &Arguments, seed: u64) -> Outcome {
    let plan = arguments.plan(seed);
    let outcome = run_plan(&plan).await;
    let report = &outcome.report;
    match described(seed, &outcome) {
        None => println!("{}", report::line(seed, report)),
        Some(found) => {
            print!("{found}");
            if let Some(kind) = &arguments.shrink {
                let small = shrink::shrink(&plan, report, kind).await;
                println!("the parts that the finding needs:\n{small}");
            }
        }
    }
    outcome
}

/// The findings of a run and where its logs are. None: it has no findings.
fn described(seed: u64, outcome: &Outcome) -> Option<String> {
    let (report, logs) = (&outcome.report, outcome.logs.as_ref()?);
    let (line, details) = (report::line(seed, report), report::details(report));
    Some(format!("{line}\n{details}the logs and the plan are in {}\n", logs.display()))
}
