//! `tidegate publish`: publishes once, as a service does, or through a node's API. Prints the publication's
//! position if the channel keeps history.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;

use super::argument::{channel, warn_of_pattern, wrong};
use super::broker::{because, needs_redis};
use super::failure::Failure;
use super::node_api::NodeApi;
use super::print::print;
use super::runtime::small_runtime;
use super::{examples, line};
use crate::broker;
use crate::config::{self, Config, Sources};
use crate::internal::PUBLICATION_BYTES_MAX;
use crate::publication::{Channel, NodeId, Position, Publication};

#[derive(Args)]
#[command(after_help = examples::PUBLISH)]
pub struct Arguments {
    /// A channel's name, without the prefix it has in Redis.
    channel: String,
    /// The payload, sent unchanged; `-`, or nothing, reads it from standard input.
    #[arg(allow_negative_numbers = true)]
    payload: Option<String>,
    /// Also publishes an empty payload, which is usually a mistake in a script.
    #[arg(long)]
    allow_empty: bool,
    /// Prints the publication as one JSON object.
    #[arg(long)]
    json: bool,
    /// Publishes through the node with this internal listener, such as http://127.0.0.1:9090, instead of through the
    /// configured broker.
    #[arg(long, value_name = "URL")]
    http: Option<String>,
    /// The node's `internal.api_key`, instead of the one in the configuration. Other users of this host can see
    /// arguments; TIDEGATE__INTERNAL__API_KEY hides the key from them.
    #[arg(long, value_name = "KEY", requires = "http")]
    api_key: Option<String>,
    /// A PEM file with the certificate authorities that verify an https node, instead of the system's.
    #[arg(long, value_name = "FILE", requires = "http")]
    ca_file: Option<PathBuf>,
}

impl Arguments {
    pub fn is_over_http(&self) -> bool {
        self.http.is_some()
    }

    /// The payload: the argument, or standard input.
    fn payload(&self, max: PayloadLimit) -> Result<Bytes, Failure> {
        let payload = match &self.payload {
            Some(payload) if payload != "-" => payload.clone().into_bytes(),
            _ => of_standard_input(max.bytes)?,
        };
        if payload.len() > max.bytes {
            let PayloadLimit { name, bytes } = max;
            return Err(wrong(format!("the payload has more than {name} = {bytes} bytes")));
        }
        if payload.is_empty() && !self.allow_empty {
            return Err(wrong("the payload is empty; --allow-empty publishes it anyway"));
        }
        Ok(payload.into())
    }

    /// Prints the publication as JSON, or only its position.
    fn print(&self, channel: &Channel, publication: &Publication) -> anyhow::Result<()> {
        match (self.json, publication.position) {
            (true, _) => print(line::of_publication(channel.as_str(), publication)),
            (false, Some(position)) => print(format!("{position}\n")),
            (false, None) => Ok(()),
        }
    }
}

/// The most bytes of a payload, and the setting or limit that says so.
struct PayloadLimit {
    name: &'static str,
    bytes: usize,
}

/// Reads at most one byte beyond `max`, which shows that there is too much.
fn of_standard_input(max: usize) -> Result<Vec<u8>, Failure> {
    let input = std::io::stdin();
    if input.is_terminal() {
        eprintln!("tidegate: type the payload; Ctrl-D ends it");
    }
    let mut payload = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    input.take(limit).read_to_end(&mut payload).context("cannot read standard input")?;
    Ok(payload)
}

/// Publishes through the configured broker.
pub fn run(config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    needs_redis(config, "--http http://127.0.0.1:9090, its internal listener")?;
    let channel = channel(&arguments.channel)?;
    warn_of_pattern(&channel);
    let bytes = config.session.message_bytes_max;
    let payload = arguments.payload(PayloadLimit { name: "session.message_bytes_max", bytes })?;
    let mut publication = Publication::bare(payload).sent_now();
    small_runtime()?.block_on(async {
        let broker =
            broker::connect_for_command(&config.broker, NodeId::random(), Arc::new(|_| {}));
        let publishing = broker.publish(channel.clone(), publication.clone()).await;
        publication.position =
            publishing.map_err(|error| because(error, &*broker)).context("cannot publish")?;
        arguments.print(&channel, &publication)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Publishes through a node's API. Reads only the key from the configuration, because the node may be on any host.
pub fn run_over_http(sources: &Sources, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let channel = channel(&arguments.channel)?;
    warn_of_pattern(&channel);
    let url = arguments.http.as_deref().unwrap_or_default();
    let api_key = match &arguments.api_key {
        Some(key) => Some(key.clone()),
        None => config::api_endpoint(sources)?.api_key,
    };
    let node = NodeApi::new("--http", url, arguments.ca_file.as_deref(), api_key)?;
    let max = PayloadLimit { name: "the maximum of a node's API", bytes: PUBLICATION_BYTES_MAX };
    let mut publication = Publication::bare(arguments.payload(max)?);
    let answer = small_runtime()?
        .block_on(node.publish(&channel, &publication))
        .context("cannot publish")?;
    publication.position = position(&answer);
    arguments.print(&channel, &publication)?;
    Ok(ExitCode::SUCCESS)
}

/// The position in the channel's history that the node reports.
fn position(answer: &[u8]) -> Option<Position> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    answer.get("position")?.as_str()?.parse().ok()
}
