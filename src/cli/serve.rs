//! `tidegate serve`: runs a node.

use std::process::ExitCode;

use anyhow::Context;

use super::Failure;
use crate::config::{Config, Sources};
use crate::gateway::{Gateway, signalled};

pub fn run(config: Config, sources: &Sources) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(async {
        let gateway = Gateway::bind(config, sources.clone())?;
        gateway.run(signalled()?).await
    })?;
    Ok(ExitCode::SUCCESS)
}
