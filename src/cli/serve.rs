//! `tidegate serve`: runs a node.

use std::process::ExitCode;

use anyhow::Context;

use super::failure::Failure;
use crate::config::{Config, Sources};
use crate::gateway::{Gateway, signalled};

pub fn run(config: Config, sources: &Sources) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let gateway = Gateway::bind(config, sources.clone())?;
        gateway.run(signalled()?).await
    });
    // Dropping it would wait for blocking calls without a limit, such as a name server or a network file system that does
    // not answer.
    runtime.shutdown_background();
    Ok(ended.map(|()| ExitCode::SUCCESS)?)
}
