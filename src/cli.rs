//! The command line: one file a command.

mod asking;
mod check;
mod completion;
mod doctor;
mod drain;
mod examples;
mod explain;
mod health;
mod line;
mod man;
mod node_api;
mod publish;
mod serve;
mod subscribe;
mod token;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::broker::{Broker, Unavailable};
use crate::config::{self, Config, Sources};
use crate::settings::Faults;
use crate::{telemetry, tls};

/// The exit code for a configuration that cannot be used; clap's own for arguments is the same.
const EXIT_CONFIGURATION: u8 = 2;

/// The exit code for everything else that went wrong.
const EXIT_FAILURE: u8 = 1;

/// A horizontally scalable WebSocket gateway with Redis fan-out.
#[derive(Parser)]
#[command(name = "tidegate", version, max_term_width = 100, after_help = examples::TIDEGATE)]
struct Arguments {
    #[command(flatten)]
    sources: SourceArguments,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct SourceArguments {
    /// Reads settings from a TOML or YAML file.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Settings")]
    config: Option<PathBuf>,
    /// Sets one key, over file and environment. May be given many times.
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE", help_heading = "Settings")]
    set: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a node. What is done without a command.
    #[command(after_help = examples::SERVE)]
    Serve,
    /// Validates the configuration and prints the effective one, secrets masked.
    #[command(after_help = examples::CHECK)]
    Check,
    /// Says which rule decides about a channel, who may do what there, and why.
    Explain(explain::Arguments),
    /// Looks for what would hurt under load: of this host, of Redis, and of the configuration. Exits 1
    /// where it finds a problem, 0 where it has nothing worse than warnings.
    #[command(after_help = examples::DOCTOR)]
    Doctor {
        /// Prints the findings as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Publishes to a channel through the configured broker, or a node's API.
    Publish(publish::Arguments),
    /// Prints what is published on channels, a line each, until it is interrupted; with several
    /// channels, the channel and a tab before each payload.
    Subscribe(subscribe::Arguments),
    /// Signs a token with a key of `auth.keys` and prints it.
    Token(token::Arguments),
    /// Asks the internal listener whether the node lives. Exits 0 or 1.
    #[command(after_help = examples::HEALTH)]
    Health {
        /// Asks whether it is ready for clients instead.
        #[arg(long)]
        ready: bool,
    },
    /// Tells the node to leave, as on SIGTERM, and returns at once.
    #[command(after_help = examples::DRAIN)]
    Drain {
        /// Only so many of its connections in a hundred, the oldest, are told to reconnect, and it stays.
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

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration, or an argument, cannot be used.
    #[error("{0}")]
    Configuration(String),
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        Self::Configuration(faults.to_string())
    }
}

/// Runs what the arguments of this process ask for.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let _flushed_last = telemetry::FlushLog;
    tls::start();
    let SourceArguments { config, set } = arguments.sources;
    let sources = Sources { file: config, flags: set, ..Sources::default() }.with_environment();
    match run_command(arguments.command.unwrap_or(Command::Serve), &sources) {
        Ok(code) => code,
        Err(failure) => {
            // Not `eprintln!`: standard error may be a pipe that is full and not read.
            telemetry::last_words(&format!("tidegate: {failure}"));
            ExitCode::from(match failure {
                Failure::Configuration(_) => EXIT_CONFIGURATION,
                Failure::Other(_) => EXIT_FAILURE,
            })
        }
    }
}

fn run_command(command: Command, sources: &Sources) -> Result<ExitCode, Failure> {
    let load = || load(sources, &command);
    match &command {
        Command::Serve => serve::run(load()?, sources),
        Command::Check => check::run(&load()?),
        Command::Explain(arguments) if arguments.is_of_node() => {
            explain::run_at_node(sources, arguments)
        }
        Command::Explain(arguments) => explain::run(&load()?, arguments),
        Command::Doctor { json } => doctor::run(&load()?, *json),
        Command::Publish(arguments) if arguments.is_over_http() => {
            publish::run_over_http(sources, arguments)
        }
        Command::Publish(arguments) => publish::run(&load()?, arguments),
        Command::Subscribe(arguments) => subscribe::run(&load()?, arguments),
        Command::Token(arguments) => token::run(&load()?, arguments),
        Command::Health { ready } => health::run(&config::entrance(sources)?, *ready),
        Command::Drain { percent } => drain::run(&config::entrance_to_api(sources)?, *percent),
        Command::Completion(arguments) => completion::run(arguments),
        Command::Man(arguments) => man::run(arguments),
    }
}

/// The configuration, with the log started, and a warning for each thing in it that has no effect.
fn load(sources: &Sources, command: &Command) -> Result<Config, Failure> {
    let ignored = config::ignored(sources);
    let warn = || ignored.iter().for_each(|what| warn(&what.to_string()));
    // What is missing may be what was mistyped.
    let mut config = Config::load(sources).inspect_err(|_| warn())?;
    let is_node = matches!(command, Command::Serve);
    // Their own words are enough.
    let is_quiet = matches!(
        command,
        Command::Doctor { .. }
            | Command::Publish { .. }
            | Command::Subscribe { .. }
            | Command::Token(_)
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

/// Says what is no failure, and not what was meant either.
fn warn(what: &str) {
    eprintln!("tidegate: warning: {what}");
}

/// Writes to standard output. That its reader has gone is no failure: it has enough.
fn print(output: impl AsRef<[u8]>) -> anyhow::Result<()> {
    use anyhow::Context;
    let mut out = std::io::stdout().lock();
    match out.write_all(output.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("cannot write to standard output"),
    }
}

/// A runtime for commands that need the network for a moment.
fn small_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    use anyhow::Context;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("cannot start the runtime")?)
}

/// Refuses the memory broker, which ends with this process and reaches nobody.
fn needs_redis(config: &Config) -> Result<(), Failure> {
    match config.broker.url {
        crate::broker::Url::Memory => Err(Failure::Configuration(
            "broker.url is memory:, which reaches this process only; \
             name the nodes' Redis, such as --set broker.url=redis://127.0.0.1:6379"
                .into(),
        )),
        crate::broker::Url::Redis(_) => Ok(()),
    }
}

/// What the broker said, with what is wrong with it where that is known.
fn because(error: Unavailable, broker: &dyn Broker) -> anyhow::Error {
    match broker.ready() {
        Ok(()) => error.into(),
        Err(why) => anyhow::Error::msg(why),
    }
}

/// An argument that cannot be used.
fn wrong(what: impl Into<String>) -> Failure {
    Failure::Configuration(what.into())
}

fn channel(name: &str) -> Result<crate::publication::Channel, Failure> {
    crate::publication::Channel::new(name)
        .map_err(|invalid| Failure::Configuration(format!("{name:?}: {invalid}")))
}
