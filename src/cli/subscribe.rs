//! `tidegate subscribe`: a line for each publication, to look on or to pipe.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::mpsc;

use super::{Failure, because, channel, needs_redis, small_runtime};
use crate::broker::{self, Event};
use crate::config::Config;
use crate::publication::NodeId;

/// Lines that may wait for standard output. Beyond that they are counted and left out.
const LINES_MAX: usize = 10_000;

pub fn run(config: &Config, names: &[String]) -> Result<ExitCode, Failure> {
    needs_redis(config)?;
    let channels = names.iter().map(|name| channel(name)).collect::<Result<Vec<_>, _>>()?;
    let several = channels.len() > 1;
    small_runtime()?.block_on(async {
        let (lines, mut queue) = mpsc::channel(LINES_MAX);
        let sink: broker::Sink = Arc::new(move |event| {
            let line = match event {
                Event::Publication { channel, publication, .. } => {
                    line(several.then_some(channel), &publication.payload)
                }
                Event::Subscribed { interrupted: None, .. }
                | Event::Presence { .. }
                | Event::Revoked { .. }
                | Event::RevocationsRead { .. }
                | Event::Announced(_) => return,
                Event::Subscribed { channel, interrupted: Some(reason) }
                | Event::Gap { channel, reason } => {
                    eprintln!("tidegate: publications of {channel} may be missing ({reason})");
                    return;
                }
            };
            if lines.try_send(line).is_err() {
                eprintln!("tidegate: a publication was left out: standard output is too slow");
            }
        });
        let broker = broker::connect(&config.broker, NodeId::random(), sink);
        for channel in &channels {
            let subscribing = broker.subscribe(channel).await;
            subscribing
                .map_err(|error| because(error, &*broker))
                .with_context(|| format!("cannot subscribe to {channel}"))?;
            eprintln!("tidegate: subscribed to {channel}");
        }
        let print = async {
            while let Some(line) = queue.recv().await {
                let mut out = std::io::stdout().lock();
                match out.write_all(&line).and_then(|()| out.flush()) {
                    Ok(()) => {}
                    // Whoever read our output has enough.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                    Err(error) => return Err(error).context("cannot write to standard output"),
                }
            }
            Ok(())
        };
        tokio::select! {
            printed = print => printed?,
            _ = crate::gateway::signalled()? => {}
        }
        Ok::<_, anyhow::Error>(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The payload as it is; behind its channel and a tab where there are several.
fn line(channel: Option<&str>, payload: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(payload.len() + 1);
    if let Some(channel) = channel {
        line.extend_from_slice(channel.as_bytes());
        line.push(b'\t');
    }
    line.extend_from_slice(payload);
    line.push(b'\n');
    line
}
