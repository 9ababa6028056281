//! `tidegate check`: the effective configuration, or everything that is wrong with it.

use std::process::ExitCode;

use crate::config::Config;

pub fn run(config: &Config) -> ExitCode {
    print!("{}", config.effective());
    ExitCode::SUCCESS
}
