//! Checks of arguments beyond clap's.

use super::failure::Failure;
use super::print::warn;
use crate::publication::Channel;

/// The failure for an invalid argument.
pub fn wrong(what: impl Into<String>) -> Failure {
    Failure::Configuration(what.into())
}

pub fn channel(name: &str) -> Result<Channel, Failure> {
    Channel::new(name).map_err(|invalid| Failure::Configuration(format!("{name:?}: {invalid}")))
}

/// Warns where the name of a channel looks like a pattern of rules or tokens.
pub fn warn_of_pattern(channel: &Channel) {
    let name = channel.as_str();
    if name.contains('*') || name.contains("{user}") {
        warn(&format!(
            "{name} is taken as the name of one channel; patterns are for rules and tokens, and no client can \
             subscribe to a pattern"
        ));
    }
}
