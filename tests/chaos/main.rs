//! Chaos: injects faults into real nodes and a real Redis with hundreds of clients, and checks that **no
//! publication is lost without a `gap`**. `docs/operating/testing.md` says how to run it.
//!
//! | file | contents |
//! | --- | --- |
//! | `plan` | the settings of a run |
//! | `stage` `backend` `fleet` `directory` | the targets of faults: Redis, the nodes, and their addresses |
//! | `node_client` `flood` | publishers, in addition to the services of `testkit` |
//! | `subscriber` | subscribers that reconnect and resume |
//! | `fault` | the faults, one function each |
//! | `table` | the result table |
//!
//! The logs, the checker and the checker's tests are in `testkit`.

mod backend;
mod directory;
mod fault;
mod fleet;
mod flood;
mod node_client;
mod plan;
mod stage;
mod subscriber;
mod table;

use std::collections::HashSet;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use futures_util::FutureExt;
use testkit::checker::{CheckReport, Logs, check};
use tokio::signal::unix::{SignalKind, signal};

use crate::backend::Setup;
use crate::fault::{FAULTS, Fault};
use crate::plan::{Length, Plan};
use crate::stage::Stage;
use crate::table::{Outcome, Recovery, Row, Run, TITLES};

fn main() -> ExitCode {
    let plan = match Plan::from_environment() {
        Ok(plan) => plan,
        Err(why) => return refuse(&why),
    };
    println!("SEED={} CHAOS={}", plan.seed, plan.length.name());
    if let Some(name) = &plan.fault
        && FAULTS.iter().all(|fault| fault.name != name)
    {
        let known: Vec<_> = FAULTS.iter().map(|fault| fault.name).collect();
        return refuse(&format!("FAULT={name} is unknown; the faults are {}", known.join(", ")));
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be waited for");
        let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be waited for");
        // Dropping the run ends all its processes.
        tokio::select! {
            code = run(&plan) => code,
            _ = interrupt.recv() => ExitCode::from(130),
            _ = terminate.recv() => ExitCode::from(143),
        }
    })
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(2)
}

async fn run(plan: &Plan) -> ExitCode {
    println!("{TITLES}");
    let mut rows = Vec::new();
    for fault in FAULTS {
        for setup in setups(fault, plan) {
            let row = Row {
                fault: fault.name,
                redis: setup.name(),
                outcome: attempt(fault, setup, plan).await,
            };
            println!("{row}");
            rows.push(row);
        }
    }
    let details: String = rows.iter().map(Row::details).collect();
    println!("\n{TITLES}");
    rows.iter().for_each(|row| println!("{row}"));
    if rows.iter().all(Row::is_good) {
        return ExitCode::SUCCESS;
    }
    println!("\n{details}\nto repeat: SEED={} CHAOS={}", plan.seed, plan.length.name());
    ExitCode::FAILURE
}

/// The setups of a fault: all of them if `FAULT` selects it.
fn setups(fault: &Fault, plan: &Plan) -> Vec<Setup> {
    match (&plan.fault, plan.length) {
        (Some(name), _) if fault.name != name => Vec::new(),
        (None, Length::Short) => fault.short.to_vec(),
        _ => fault.setups.to_vec(),
    }
}

async fn attempt(fault: &Fault, setup: Setup, plan: &Plan) -> Outcome {
    let stage =
        match AssertUnwindSafe(Stage::start(setup, plan.length, plan.seed)).catch_unwind().await {
            Ok(Ok(stage)) => stage,
            Ok(Err(why)) if setup == Setup::Linked => return Outcome::Skipped(why),
            Ok(Err(why)) => return Outcome::Broken(why),
            Err(_) => return Outcome::Broken("a panic, shown above".to_owned()),
        };
    match AssertUnwindSafe(run_fault(fault, setup, stage)).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Broken("a panic, shown above".to_owned()),
    }
}

async fn run_fault(fault: &Fault, setup: Setup, mut stage: Stage) -> Outcome {
    let mut recovery = Recovery::default();
    for round in 0..stage.length.rounds() {
        stage.victim = round % stage.fleet.nodes.len();
        stage.run_for(stage.length.calm()).await;
        let removed_at = fault.inject(&mut stage).await;
        stage.fleet.wait_until_ready().await;
        let ready = removed_at.elapsed();
        match stage.acknowledged_after(removed_at).await {
            Ok((first, all)) => recovery.record(first, all, ready),
            Err(why) => return Outcome::Broken(why),
        }
        fault.restore(&mut stage).await;
    }
    stage.run_for(stage.length.calm()).await;
    let unsettled = stage.settle().await.err().or_else(|| stage.fleet.panic());
    let (sent, seen) = (stage.sent(), stage.seen());
    let check_report = check(&Logs {
        channels: &stage.channels,
        sent: &sent,
        seen: &seen,
        started: stage.started,
        history_lost: fault.loses_history(setup),
    });
    let found = unsettled.is_some() || !check_report.findings.is_empty();
    let logs = found.then(|| save_logs(fault, setup, &stage, &check_report));
    Outcome::Ran(Box::new(Run { check_report, recovery, unsettled, logs }))
}

/// Saves the logs of the nodes and the subscribers concerned; returns the folder.
fn save_logs(fault: &Fault, setup: Setup, stage: &Stage, check_report: &CheckReport) -> String {
    let name = format!("chaos/{}-{}", fault.name, setup.name());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let save = |name: String, lines: Vec<String>| {
        fs::write(folder.join(name), lines.join("\n") + "\n").expect("a log is written");
    };
    fs::create_dir_all(&folder).expect("a folder for logs");
    for (index, (node, lines)) in stage.fleet.logs().into_iter().enumerate() {
        save(format!("{index}-node-{node}.log"), lines);
    }
    let named: HashSet<&str> = check_report.findings.iter().map(|it| it.client.as_str()).collect();
    for seen in stage.seen() {
        if named.contains(seen.name.as_str()) || check_report.findings.is_empty() {
            let since = |at: &Instant| at.duration_since(stage.started);
            let line = seen.events.iter().map(|(at, it)| it.line(since(at), &stage.channels));
            save(format!("{}.log", seen.name.replace(' ', "-")), line.collect());
        }
    }
    folder.display().to_string()
}
