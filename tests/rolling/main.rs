//! A rolling restart: three real nodes behind a real HAProxy are restarted one after the other, while
//! thousands of clients subscribe and some of them publish. It checks that **clients are unaffected**: no
//! loss, no duplicates, no failed handshake, and a reconnect rate below the configured limit.
//! `docs/operating/testing.md` says how to run it.
//!
//! | file | contents |
//! | --- | --- |
//! | `plan` | the settings of the run |
//! | `stage` `fleet` `balancer` | Redis, nodes, HAProxy, and publishers |
//! | `clients` `client` `publish_request` | the clients, which reconnect, resume and publish |
//! | `restart` `sampling` | the restart of one node, and the metrics of the others meanwhile |
//! | `counters` | counters of all clients |
//! | `report` | the report |
//!
//! Publishers, logs, the checker and the measures are in `testkit`.

mod balancer;
mod client;
mod clients;
mod counters;
mod fleet;
mod plan;
mod publish_request;
mod report;
mod restart;
mod sampling;
mod stage;

use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;

use testkit::checker::{Logs, check};
use tokio::signal::unix::{SignalKind, signal};

use crate::balancer::Balancer;
use crate::fleet::NODES;
use crate::plan::Plan;
use crate::report::{Downtimes, Report};
use crate::restart::Restart;
use crate::stage::Stage;

fn main() -> ExitCode {
    let plan = match Plan::from_environment() {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    if !Balancer::is_installed() {
        println!("skipped: haproxy is not on PATH");
        return ExitCode::SUCCESS;
    }
    testkit::open_files::raise_open_file_limit();
    println!("SEED={} ROLLING={}", plan.seed, plan.length.name());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be waited for");
        let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be waited for");
        // Dropping the run ends all its processes.
        tokio::select! {
            code = run(plan) => code,
            _ = interrupt.recv() => ExitCode::from(130),
            _ = terminate.recv() => ExitCode::from(143),
        }
    })
}

async fn run(plan: Plan) -> ExitCode {
    let mut stage = match Stage::start(plan).await {
        Ok(stage) => stage,
        Err(why) => {
            println!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let (clients, cap) = (plan.length.clients(), plan.length.reconnects_per_second());
    println!("{clients} clients, {NODES} nodes, at most {cap} reconnects a second\n");
    let mut restarts = Vec::new();
    let mut unsettled = None;
    for node in 0..NODES {
        match Restart::run(node, &mut stage).await {
            Ok(restart) => restarts.push(restart),
            Err(why) => {
                unsettled = Some(why);
                break;
            }
        }
    }
    if unsettled.is_none() {
        unsettled = stage.settle().await.err().or_else(|| stage.fleet.panic());
    }
    let report = report(plan, &stage, restarts, unsettled).await;
    print!("{}", report.text());
    let faults = report.faults();
    if faults.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!(
        "\n{}\nto repeat: SEED={} ROLLING={}",
        faults.join("\n"),
        plan.seed,
        plan.length.name()
    );
    ExitCode::FAILURE
}

async fn report(
    plan: Plan,
    stage: &Stage,
    restarts: Vec<Restart>,
    unsettled: Option<String>,
) -> Report {
    let mut connections = Vec::new();
    for node in 0..NODES {
        connections.push(stage.balancer.connections(node).await);
    }
    let counters = &stage.clients.counters;
    let (advised, faults) = ([&counters.advised, &counters.unadvised], counters.faults());
    let (sent, seen) = (stage.sent(), stage.clients.take_logs());
    let check_report = check(&Logs {
        channels: &stage.channels,
        sent: &sent,
        seen: &seen,
        started: stage.started,
        history_lost: false,
    });
    Report {
        plan,
        restarts,
        check_report,
        sent,
        downtimes: Downtimes::of(&seen, 2),
        advised: advised.map(|it| it.load(Relaxed)),
        faults,
        retries: stage.balancer.retries(NODES).await,
        balancer: stage.balancer.log(),
        connections,
        unsettled,
    }
}
