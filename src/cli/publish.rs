//! `tidegate publish`: one publication, as any service would make it. Prints its position where the
//! channel keeps history.

use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;

use super::{Failure, because, channel, needs_redis, print, small_runtime};
use crate::broker;
use crate::config::Config;
use crate::publication::{NodeId, Publication};

pub fn run(config: &Config, name: &str, payload: Option<String>) -> Result<ExitCode, Failure> {
    needs_redis(config)?;
    let channel = channel(name)?;
    let payload = match payload {
        Some(payload) if payload != "-" => payload.into_bytes(),
        _ => {
            let mut payload = Vec::new();
            std::io::stdin().read_to_end(&mut payload).context("cannot read standard input")?;
            payload
        }
    };
    let publication = Publication::bare(Bytes::from(payload)).sent_now();
    small_runtime()?.block_on(async {
        let broker = broker::connect(&config.broker, NodeId::random(), Arc::new(|_| {}));
        let publishing = broker.publish(channel, publication).await;
        let position =
            publishing.map_err(|error| because(error, &*broker)).context("cannot publish")?;
        if let Some(position) = position {
            print(format!("{position}\n"))?;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    Ok(ExitCode::SUCCESS)
}
