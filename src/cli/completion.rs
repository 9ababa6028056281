//! `tidegate completion`: a script that completes commands and arguments in a shell.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::examples;
use super::failure::Failure;
use super::print::print;

#[derive(Args)]
#[command(after_help = examples::COMPLETION)]
pub struct Arguments {
    /// The shell.
    shell: Shell,
}

pub fn run(arguments: &Arguments, mut tidegate: Command) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut tidegate, "tidegate", &mut script);
    print(script)?;
    Ok(ExitCode::SUCCESS)
}
