//! `tidegate subscribe`: prints a line for each publication, for watching or piping.

mod follower;
mod output;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use clap::Args;
use tokio::sync::mpsc;

use self::follower::Follower;
use self::output::{Output, OutputFormat};
use super::argument::{channel, warn_of_pattern, wrong};
use super::broker::{because, needs_redis};
use super::examples;
use super::failure::Failure;
use super::runtime::small_runtime;
use crate::broker::{self, BrokerEvent};
use crate::config::Config;
use crate::publication::{Channel, NodeId, Publication, ReplayStart};
use crate::telemetry;

/// The most events queued for standard output. Events beyond that are read again from the history or, if there is
/// none, reported as a gap.
const EVENTS_MAX: usize = 10_000;

/// The reason of a gap because standard output was too slow.
const OUTPUT_TOO_SLOW: &str = "output_too_slow";

#[derive(Args)]
#[command(after_help = examples::SUBSCRIBE)]
pub struct Arguments {
    /// Channels' names, without the prefix they have in Redis.
    #[arg(required = true)]
    channels: Vec<String>,
    /// Starts after this position in the channel's history, or with `first` at its beginning. Allowed with one channel
    /// only.
    #[arg(long, value_name = "POSITION")]
    since: Option<ReplayStart>,
    /// Prints each publication and each gap as one JSON object.
    #[arg(long)]
    json: bool,
}

/// An event of the broker about a channel.
enum ChannelReport {
    Publication(Publication),
    Gap(&'static str),
}

pub fn run(config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { channels, since, json } = arguments;
    let first = channels.first().map_or("", String::as_str);
    needs_redis(config, &format!("curl -N http://127.0.0.1:8080/sse/{first}"))?;
    let channels = channels.iter().map(|name| channel(name)).collect::<Result<Vec<_>, _>>()?;
    channels.iter().for_each(warn_of_pattern);
    if since.is_some() {
        keeps_history(config, &channels)?;
    }
    let format = match (json, channels.len()) {
        (true, _) => OutputFormat::Json,
        (false, 1) => OutputFormat::Payload,
        (false, _) => OutputFormat::ChannelAndPayload,
    };
    let follower = |channel: Channel| {
        let history = config.rules.of(channel.as_str()).history;
        (channel.clone(), Follower::new(channel, history.is_some(), *since))
    };
    let followers = channels.into_iter().map(follower).collect();
    let runtime = small_runtime()?;
    let followed = runtime.block_on(async {
        tokio::select! {
            followed = follow(config, followers, Output::new(format)) => followed,
            _ = crate::gateway::signalled()? => Ok(()),
        }
    });
    // Does not wait for a write that no process reads.
    runtime.shutdown_background();
    followed?;
    Ok(ExitCode::SUCCESS)
}

/// `--since` needs a single channel, and a rule that keeps its history.
fn keeps_history(config: &Config, channels: &[Channel]) -> Result<(), Failure> {
    let [channel] = channels else {
        return Err(wrong(
            "--since takes one channel, because a position belongs to a single channel's history",
        ));
    };
    match config.rules.of(channel.as_str()).history {
        Some(_) => Ok(()),
        None => Err(wrong(format!(
            "--since: {}; give the nodes' configuration with --config FILE",
            config.rules.explain_not_kept("history", channel.as_str())
        ))),
    }
}

/// Ends with an error, or when the reader of standard output closes it.
async fn follow(
    config: &Config,
    mut followers: BTreeMap<Channel, Follower>,
    output: Output,
) -> anyhow::Result<()> {
    let (events, mut queue) = mpsc::channel(EVENTS_MAX);
    let broker = broker::connect_for_command(&config.broker, NodeId::random(), sink(events));
    for (channel, follower) in &mut followers {
        let subscribing = broker.subscribe(channel).await;
        subscribing
            .map_err(|error| because(error, &*broker))
            .with_context(|| format!("cannot subscribe to {channel}"))?;
        eprintln!("tidegate: subscribed to {channel}");
        if let Err(error) = follower.begin(&*broker, &output).await? {
            let why = because(error, &*broker);
            return Err(why.context(format!("cannot read the history of {channel}")));
        }
    }
    // From here on, a lost connection to Redis is worth a log line.
    telemetry::log_warnings();
    while let Some((channel, heard)) = queue.recv().await {
        let Some(follower) = followers.get_mut(&channel) else { continue };
        let printed = match heard {
            ChannelReport::Publication(publication) => {
                follower.publication(publication, &*broker, &output).await
            }
            ChannelReport::Gap(reason) => follower.gap(reason, &*broker, &output).await,
        };
        match printed {
            // The reader closed the pipe.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            printed => printed.context("cannot write to standard output")?,
        }
    }
    Ok(())
}

/// Forwards events to be printed; never blocks. A channel whose events did not fit gets a gap before its next one.
fn sink(events: mpsc::Sender<(Channel, ChannelReport)>) -> broker::Sink {
    let lacking = Mutex::new(Vec::<Channel>::new());
    Arc::new(move |event| {
        let (channel, heard) = match event {
            BrokerEvent::Publication { channel, publication, .. } => {
                let Ok(channel) = Channel::new(channel) else { return };
                (channel, ChannelReport::Publication(publication))
            }
            BrokerEvent::Subscribed { channel, interrupted: Some(reason) }
            | BrokerEvent::Gap { channel, reason } => (channel.clone(), ChannelReport::Gap(reason)),
            BrokerEvent::Subscribed { interrupted: None, .. }
            | BrokerEvent::PatternsInterrupted { .. }
            | BrokerEvent::Presence { .. }
            | BrokerEvent::Revoked { .. }
            | BrokerEvent::RevocationsRead { .. }
            | BrokerEvent::Announced(_) => return,
        };
        let mut lacking = lacking.lock().expect("no code panics while it holds the lock");
        lacking.retain(|channel| {
            events.try_send((channel.clone(), ChannelReport::Gap(OUTPUT_TOO_SLOW))).is_err()
        });
        if events.try_send((channel.clone(), heard)).is_err() && !lacking.contains(&channel) {
            eprintln!("tidegate: standard output is too slow; skipping publications of {channel}");
            lacking.push(channel);
        }
    })
}
