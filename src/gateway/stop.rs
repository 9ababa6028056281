//! The signals that stop a node.

use std::future::pending;
use std::io::{IsTerminal, stderr, stdin};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::telemetry;

/// Why the node stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// SIGTERM: from an orchestrator, whose load balancers still have to notice.
    Terminate,
    /// SIGINT to a process without a terminal.
    Interrupt,
    /// SIGINT with a terminal: a person waits for the end.
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

/// Resolves at the first SIGTERM or SIGINT. A second one ends the process immediately.
///
/// From this call on, even before the future is polled, signals no longer kill the process, because a node that
/// has just started may be told to stop.
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
            telemetry::stopped_immediately();
            telemetry::flush_log();
            std::process::exit(EXIT_STOPPED_IMMEDIATELY);
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

/// The exit code of a node that a second signal ended.
const EXIT_STOPPED_IMMEDIATELY: i32 = 1;
