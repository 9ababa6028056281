//! The runtime of commands.

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};

use super::failure::Failure;

/// A runtime for commands that need the network for a moment.
pub fn small_runtime() -> Result<Runtime, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("cannot start the runtime")?)
}
