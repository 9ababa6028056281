//! `tidegate check`: prints the effective configuration, or all its faults.

use std::process::ExitCode;

use super::failure::Failure;
use super::print::print;
use crate::config::Config;

pub fn run(config: &Config) -> Result<ExitCode, Failure> {
    print(config.effective())?;
    for address in config.auth.exposed_jwks() {
        // On stderr, so that standard output can be used as a configuration file.
        eprintln!(
            "warning: auth.keys: {address} is fetched over http from another host; use https"
        );
    }
    Ok(ExitCode::SUCCESS)
}
