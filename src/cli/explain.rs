//! `tidegate explain`: which rule applies to a channel, who may subscribe and publish there, and why; by the
//! configuration, or by the rules of a running node.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::argument::channel;
use super::examples;
use super::failure::Failure;
use super::node_api::NodeApi;
use super::print::print;
use super::runtime::small_runtime;
use crate::auth::Auth;
use crate::auth::explanation::{TokenStatus, explain};
use crate::config::{self, Config, Sources};

#[derive(Args)]
#[command(after_help = examples::EXPLAIN)]
pub struct Arguments {
    /// A channel's name.
    #[arg(long)]
    channel: String,
    /// The client's token. Without it, the client is anonymous.
    #[arg(long)]
    token: Option<String>,
    /// Asks the node with this internal listener, such as http://127.0.0.1:9090, which rules and keys it uses now.
    #[arg(long, value_name = "URL")]
    node: Option<String>,
    /// The node's `internal.api_key`, instead of the one in the configuration. Other users of this host can see
    /// arguments; TIDEGATE__INTERNAL__API_KEY hides the key from them.
    #[arg(long, value_name = "KEY", requires = "node")]
    api_key: Option<String>,
    /// A PEM file with the certificate authorities that verify an https node, instead of the system's.
    #[arg(long, value_name = "FILE", requires = "node")]
    ca_file: Option<PathBuf>,
}

impl Arguments {
    pub fn is_of_node(&self) -> bool {
        self.node.is_some()
    }
}

pub fn run(config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let channel = channel(&arguments.channel)?;
    let token = arguments.token.as_deref();
    let shown = small_runtime()?
        .block_on(async { TokenStatus::of(token, &Auth::start(&config.auth)).await });
    let origin = config.key_specs.iter().find(|known| known.key == "rules[0].pattern");
    let origin = origin.map_or("", |known| known.origin.as_str());
    print(explain(&config.rules.current(), origin, channel.as_str(), &shown))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads only the key from the configuration, because the node may be on any host.
pub fn run_at_node(sources: &Sources, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let channel = channel(&arguments.channel)?;
    let url = arguments.node.as_deref().unwrap_or_default();
    let api_key = match &arguments.api_key {
        Some(key) => Some(key.clone()),
        None => config::api_endpoint(sources)?.api_key,
    };
    let node = NodeApi::new("--node", url, arguments.ca_file.as_deref(), api_key)?;
    let answer = small_runtime()?
        .block_on(node.explain(&channel, arguments.token.as_deref()))
        .context("cannot explain")?;
    print(answer)?;
    Ok(ExitCode::SUCCESS)
}
