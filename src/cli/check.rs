//! `tidegate check`: the effective configuration, or everything that is wrong with it.

use std::process::ExitCode;

use super::failure::Failure;
use super::print::print;
use crate::config::Config;

pub fn run(config: &Config) -> Result<ExitCode, Failure> {
    print(config.effective())?;
    for address in config.auth.exposed_jwks() {
        // On stderr, so that what is printed can be used as a file.
        eprintln!(
            "warning: auth.keys: {address} is fetched over http, beyond this host; use https"
        );
    }
    Ok(ExitCode::SUCCESS)
}
