//! The command line: one file for each command.

mod argument;
mod broker;
mod check;
mod completion;
mod doctor;
mod drain;
mod examples;
mod explain;
mod failure;
mod health;
mod line;
mod local_request;
mod man;
mod node_api;
mod print;
mod publish;
mod runtime;
mod serve;
mod subscribe;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub use self::failure::Failure;
use self::failure::{EXIT_CONFIGURATION, EXIT_FAILURE};
use self::print::warn;
use crate::config::{self, Config, Sources};
use crate::{telemetry, tls};

/// A horizontally scalable WebSocket gateway with Redis fan-out.
#[derive(Parser)]
#[command(name = "tidegate", version, max_term_width = 100, after_help = examples::TIDEGATE)]
struct Arguments {
    #[command(flatten)]
    sources: SourceArguments,
    #[command(subcommand)]
    command: Option<CliCommand>,
}

#[derive(Args)]
struct SourceArguments {
    /// Reads settings from a TOML or YAML file.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Settings")]
    config: Option<PathBuf>,
    /// Sets one key, over file and environment. May be given several times.
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE", help_heading = "Settings")]
    set: Vec<String>,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Runs a node. The default if no command is given.
    #[command(after_help = examples::SERVE)]
    Serve,
    /// Validates the configuration and prints the effective one, secrets masked.
    #[command(after_help = examples::CHECK)]
    Check,
    /// Shows which rule applies to a channel, who may subscribe and publish there, and why.
    Explain(explain::Arguments),
    /// Checks this host, Redis and the configuration for problems under load. Exits 1 if it finds a problem, 0 if
    /// it finds only warnings or nothing.
    #[command(after_help = examples::DOCTOR)]
    Doctor {
        /// Prints the findings as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Publishes to a channel through the configured broker, or a node's API.
    Publish(publish::Arguments),
    /// Prints publications on channels, one per line, until interrupted. With several channels, each line starts
    /// with the channel and a tab.
    Subscribe(subscribe::Arguments),
    /// Signs a token with a key of `auth.keys` and prints it.
    Token(token::Arguments),
    /// Checks at the internal listener whether the node is alive. Exits 0 or 1.
    #[command(after_help = examples::HEALTH)]
    Health {
        /// Checks whether it is ready for clients instead.
        #[arg(long)]
        ready: bool,
    },
    /// Starts a node's shutdown, as SIGTERM does, and returns immediately.
    #[command(after_help = examples::DRAIN)]
    Drain {
        /// Only moves this percentage of its connections, the oldest, to other nodes; the node keeps running.
        #[arg(long, value_parser = clap::value_parser!(u8).range(1..=100))]
        percent: Option<u8>,
    },
    /// Prints a script that completes commands and arguments in a shell.
    Completion(completion::Arguments),
    /// Prints the manual page of tidegate, or of one command.
    Man(man::Arguments),
}

/// All commands and arguments, for the reference in docs/CLI.md.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the command that this process's arguments name.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let _flushed_last = telemetry::FlushLog;
    tls::start();
    let SourceArguments { config, set } = arguments.sources;
    let sources = Sources { file: config, flags: set, ..Sources::default() }.with_environment();
    match run_command(arguments.command.unwrap_or(CliCommand::Serve), &sources) {
        Ok(code) => code,
        Err(failure) => {
            // Not `eprintln!`: standard error may be a pipe that is full and not read.
            telemetry::write_last_message(&format!("tidegate: {failure}"));
            ExitCode::from(match failure {
                Failure::Configuration(_) => EXIT_CONFIGURATION,
                Failure::Other(_) => EXIT_FAILURE,
            })
        }
    }
}

fn run_command(asked: CliCommand, sources: &Sources) -> Result<ExitCode, Failure> {
    let load = || load(sources, &asked);
    match &asked {
        CliCommand::Serve => serve::run(load()?, sources),
        CliCommand::Check => check::run(&load()?),
        CliCommand::Explain(arguments) if arguments.is_of_node() => {
            explain::run_at_node(sources, arguments)
        }
        CliCommand::Explain(arguments) => explain::run(&load()?, arguments),
        CliCommand::Doctor { json } => doctor::run(&load()?, *json),
        CliCommand::Publish(arguments) if arguments.is_over_http() => {
            publish::run_over_http(sources, arguments)
        }
        CliCommand::Publish(arguments) => publish::run(&load()?, arguments),
        CliCommand::Subscribe(arguments) => subscribe::run(&load()?, arguments),
        CliCommand::Token(arguments) => token::run(&load()?, arguments),
        CliCommand::Health { ready } => health::run(&config::health_endpoint(sources)?, *ready),
        CliCommand::Drain { percent } => drain::run(&config::api_endpoint(sources)?, *percent),
        CliCommand::Completion(arguments) => completion::run(arguments, command()),
        CliCommand::Man(arguments) => man::run(arguments, command()),
    }
}

/// Loads the configuration and starts the log; warns of each setting that has no effect.
fn load(sources: &Sources, command: &CliCommand) -> Result<Config, Failure> {
    let ignored = config::ignored(sources);
    let warn = || ignored.iter().for_each(|what| warn(&what.to_string()));
    // A missing setting may be one of the mistyped names.
    let mut config = Config::load(sources).inspect_err(|_| warn())?;
    let is_node = matches!(command, CliCommand::Serve);
    // These commands report errors themselves.
    let is_quiet = matches!(
        command,
        CliCommand::Doctor { .. }
            | CliCommand::Publish { .. }
            | CliCommand::Subscribe { .. }
            | CliCommand::Token(_)
    );
    if is_quiet {
        config.telemetry.quiet();
    }
    if !is_node {
        config.telemetry.for_people();
    }
    telemetry::start_log(&config.telemetry);
    telemetry::watch_panics();
    match is_node {
        true => ignored.iter().for_each(|what| telemetry::setting_ignored(what)),
        false => warn(),
    }
    Ok(config)
}
