//! The Redis Functions that append to a history and publish in one step.

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use crate::broker::Config;

/// What the nodes install.
pub struct Library;

impl Library {
    pub fn new(_: &Config) -> Self {
        Self
    }
}

/// Installs the library where it is missing.
pub async fn install(_: &mut MultiplexedConnection, _: &Library) -> RedisResult<()> {
    Ok(())
}
