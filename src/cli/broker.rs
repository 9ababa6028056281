//! Helpers for commands that use the broker themselves.

use super::failure::Failure;
use crate::broker::{Broker, Unavailable, Url};
use crate::config::Config;

/// Rejects the memory broker, which lives and dies with this process and reaches no node. `without_redis`: what does the
/// same through a node.
pub fn needs_redis(config: &Config, without_redis: &str) -> Result<(), Failure> {
    match config.broker.url {
        Url::Memory => Err(Failure::Configuration(format!(
            "broker.url is memory:, which reaches only this process; name the nodes' Redis, such as \
                 --set broker.url=redis://127.0.0.1:6379, or use a node without Redis: {without_redis}"
        ))),
        Url::Redis(_) => Ok(()),
    }
}

/// The broker's error or, if known, the reason why the broker is not ready.
pub fn because(error: Unavailable, broker: &dyn Broker) -> anyhow::Error {
    match broker.ready() {
        Ok(()) => error.into(),
        Err(why) => anyhow::Error::msg(why),
    }
}
