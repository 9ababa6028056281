//! What commands that use the broker themselves ask of it.

use super::failure::Failure;
use crate::broker::{Broker, Unavailable, Url};
use crate::config::Config;

/// Refuses the memory broker, which ends with this process and reaches nobody.
pub fn needs_redis(config: &Config) -> Result<(), Failure> {
    match config.broker.url {
        Url::Memory => Err(Failure::Configuration(
            "broker.url is memory:, which reaches this process only; \
             name the nodes' Redis, such as --set broker.url=redis://127.0.0.1:6379"
                .into(),
        )),
        Url::Redis(_) => Ok(()),
    }
}

/// What the broker said, with what is wrong with it where that is known.
pub fn because(error: Unavailable, broker: &dyn Broker) -> anyhow::Error {
    match broker.ready() {
        Ok(()) => error.into(),
        Err(why) => anyhow::Error::msg(why),
    }
}
