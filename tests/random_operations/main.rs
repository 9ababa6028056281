//! Random operations: real nodes on a real Redis, with every operation of clients, publishers and operators
//! mixed with every fault, generated from a seed. Afterwards the audit checks the journals of all clients: in
//! order, once, no loss without a reported gap, and correct `recovered: true`. `docs/operating/testing.md` says how
//! to run it.
//!
//! | file | holds |
//! | --- | --- |
//! | `plan` | what a seed makes of it |
//! | `stage` `doors` | Redis and nodes, what breaks, where clients find them |
//! | `client` `publisher` `http_post` | who listens, and who publishes |
//! | `record` | what they write down |
//! | `play` | one run |
//! | `shrink` | which parts of a plan a finding needs |
//! | `report` | the outcome |
//!
//! Channels, journals and the audit are in `testkit`.

mod client;
mod doors;
mod http_post;
mod plan;
mod play;
mod publisher;
mod record;
mod report;
mod shrink;
mod stage;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt, stream};
use tokio::signal::unix::{SignalKind, signal};

use crate::plan::Plan;
use crate::play::{Outcome, play, without};

/// The settings from the environment.
struct Order {
    /// The first seed, and how many.
    seed: u64,
    seeds: u64,
    /// How often each is run. Nodes and Redis have their own time, so no run is like another.
    times: u64,
    /// Runs at a time.
    parallel: usize,
    time: Duration,
    /// Only the first parts of a plan.
    operations: usize,
    /// Parts that are left out.
    without: Vec<usize>,
    /// What was found is narrowed down: findings of this kind, or `1` for any.
    shrink: Option<String>,
}

fn main() -> ExitCode {
    let order = match Order::of_environment() {
        Ok(order) => order,
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
            code = run(order) => code,
            _ = interrupt.recv() => ExitCode::from(130),
            _ = terminate.recv() => ExitCode::from(143),
        }
    })
}

impl Order {
    fn of_environment() -> Result<Self, String> {
        fn number(name: &str) -> Result<Option<u64>, String> {
            match std::env::var(name) {
                Ok(text) if !text.is_empty() => match text.parse() {
                    Ok(number) => Ok(Some(number)),
                    Err(_) => Err(format!("{name}={text} is no number")),
                },
                _ => Ok(None),
            }
        }
        let seeds = number("SEEDS")?;
        // One seed is tried again; many begin anywhere.
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

async fn run(order: Order) -> ExitCode {
    let begun = Instant::now();
    println!("SEED={} SEEDS={} PARALLEL={}", order.seed, order.seeds, order.parallel);
    let each = |seed| std::iter::repeat_n(seed, order.times as usize);
    let seeds = (order.seed..order.seed + order.seeds).flat_map(each);
    // In this one task: what waits for conditions here cannot move between threads.
    let mut runs = stream::iter(seeds)
        .map(|seed| AssertUnwindSafe(one(&order, seed)).catch_unwind().map(move |it| (seed, it)))
        .buffer_unordered(order.parallel);
    let (mut bad, mut deliveries) = (Vec::new(), 0);
    while let Some((seed, run)) = runs.next().await {
        match run {
            Ok(outcome) => {
                deliveries += outcome.verdict.deliveries;
                if !outcome.verdict.findings.is_empty() {
                    bad.push(seed);
                }
            }
            Err(_) => {
                println!("seed {seed:>10}  broke by a panic, shown above");
                bad.push(seed);
            }
        }
    }
    let took = begun.elapsed().as_secs();
    println!("{} seeds in {took} s, {deliveries} deliveries", order.seeds);
    if bad.is_empty() {
        return ExitCode::SUCCESS;
    }
    bad.sort_unstable();
    bad.dedup();
    println!("{} seeds with findings: {bad:?}", bad.len());
    println!(
        "again: SEED=number SEEDS=1 TIMES=10 make random; narrower: OPS=parts, WITHOUT=part,part, SHRINK=1"
    );
    ExitCode::FAILURE
}

async fn one(order: &Order, seed: u64) -> Outcome {
    let plan = order.plan(seed);
    let outcome = play(&plan).await;
    let verdict = &outcome.verdict;
    println!("seed {seed:>10}  {}", report::summary(verdict));
    if let Some(logs) = &outcome.logs {
        println!("{}the logs and the plan are in {}", report::details(verdict), logs.display());
        if let Some(kind) = &order.shrink {
            let small = shrink::shrink(&plan, verdict, kind).await;
            println!("what the finding needs:\n{small}");
        }
    }
    outcome
}
