//! `tidegate check`: prints the effective configuration, or all its faults.

use std::process::ExitCode;

use super::failure::Failure;
use super::print::print;
use crate::config::Config;

pub fn run(config: &Config) -> Result<ExitCode, Failure> {
    print(config.effective())?;
    // On stderr, so that standard output can be used as a configuration file.
    for address in config.auth.exposed_jwks() {
        eprintln!(
            "warning: auth.keys: {address} is fetched over http from another host; use https"
        );
    }
    let rules = config.rules.current();
    let pattern = |at: usize| rules.iter().nth(at).map_or("", |rule| rule.pattern.as_str());
    for (rule, earlier) in rules.unreachable() {
        eprintln!(
            "warning: rules[{rule}].pattern: {:?} never applies, because rules[{earlier}] ({:?}) comes first and matches \
             all of its channels; put the narrower rule first",
            pattern(rule),
            pattern(earlier)
        );
    }
    Ok(ExitCode::SUCCESS)
}
