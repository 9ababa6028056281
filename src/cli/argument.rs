//! Arguments that are more than clap checks.

use super::failure::Failure;
use crate::publication::Channel;

/// An argument that cannot be used.
pub fn wrong(what: impl Into<String>) -> Failure {
    Failure::Configuration(what.into())
}

pub fn channel(name: &str) -> Result<Channel, Failure> {
    Channel::new(name).map_err(|invalid| Failure::Configuration(format!("{name:?}: {invalid}")))
}
