//! The signals that stop a node.

use std::future::pending;
use std::io::{IsTerminal, stderr, stdin};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::telemetry;

/// Why the node is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// SIGTERM: an orchestrator, whose balancers have yet to hear of it.
    Terminate,
    /// SIGINT, to a process that no terminal belongs to.
    Interrupt,
    /// SIGINT with a terminal: somebody at a keyboard, who waits.
    TerminalInterrupt,
}

impl StopReason {
    /// The signal's name.
    pub fn signal(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt | Self::TerminalInterrupt => "SIGINT",
        }
    }
}

/// Resolves at the first SIGTERM or SIGINT. A second one ends the process at once.
///
/// From this call on, not only when it is waited for, no signal ends the process by itself: a node that
/// has just begun to serve may be told to stop.
pub fn signalled() -> anyhow::Result<impl Future<Output = StopReason>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut next = async move || {
        tokio::select! {
            Some(()) = terminate.recv() => StopReason::Terminate,
            Some(()) = interrupt.recv() => interrupted(),
            else => pending().await,
        }
    };
    Ok(async move {
        let first = next().await;
        tokio::spawn(async move {
            next().await;
            telemetry::stopped_at_once();
            telemetry::flush_log();
            std::process::exit(EXIT_STOPPED_AT_ONCE);
        });
        first
    })
}

fn interrupted() -> StopReason {
    match stdin().is_terminal() || stderr().is_terminal() {
        true => StopReason::TerminalInterrupt,
        false => StopReason::Interrupt,
    }
}

/// The exit code of a node that was told twice and so did not drain.
const EXIT_STOPPED_AT_ONCE: i32 = 1;
