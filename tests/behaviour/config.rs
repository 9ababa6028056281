//! Configuration sources, faults, and the commands that read the configuration.

mod check;
mod completion_and_man;
mod drain;
mod explain;
mod faults;
mod health;
mod ignored_settings;
mod layers;
mod listen_addresses;
mod rules;
mod secrets;
mod token;

use std::process::Output;

use testkit::node::{run_to_end, tidegate};

/// Runs the command in this environment.
async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = tidegate(arguments);
    command.envs(environment.iter().copied());
    run_to_end(command).await
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// The line that begins with this key.
fn line<'a>(text: &'a str, key: &str) -> &'a str {
    let found = text.lines().find(|line| line.trim_start().starts_with(key));
    found.unwrap_or_else(|| panic!("no line of {key} in:\n{text}"))
}
