//! Checks of arguments beyond clap's.

use super::failure::Failure;
use crate::publication::Channel;

/// The failure for an invalid argument.
pub fn wrong(what: impl Into<String>) -> Failure {
    Failure::Configuration(what.into())
}

pub fn channel(name: &str) -> Result<Channel, Failure> {
    Channel::new(name).map_err(|invalid| Failure::Configuration(format!("{name:?}: {invalid}")))
}
