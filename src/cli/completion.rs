//! `tidegate completion`: a script that completes commands and arguments in a shell.

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use super::{Failure, examples, print};

#[derive(Args)]
#[command(after_help = examples::COMPLETION)]
pub struct Arguments {
    /// Which shell the script is for.
    shell: Shell,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::command(), "tidegate", &mut script);
    print(script)?;
    Ok(ExitCode::SUCCESS)
}
