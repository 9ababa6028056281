//! `tidegate check`: the effective configuration, or everything that is wrong with it.

use std::process::ExitCode;

use super::{Failure, print};
use crate::config::Config;

pub fn run(config: &Config) -> Result<ExitCode, Failure> {
    print(config.effective())?;
    Ok(ExitCode::SUCCESS)
}
