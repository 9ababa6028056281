//! Installs the functions on the server that publications go to.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisResult, Value};
use tokio::time::{Instant, timeout};

use super::publish_outcome::PublishOutcome;
use crate::broker::redis::connection::cause::Cause;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::functions::library::Found;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::rules::bypassed_history::BypassedHistory;
use crate::broker::redis::rules::installing::{begin_read, learn_and_schedule};
use crate::telemetry;

/// How long installing the functions may take.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the functions are not offered again after Redis refused them.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// Installs the functions on one server.
pub struct FunctionInstaller {
    lane: Arc<Lane>,
    context: Arc<RedisContext>,
    /// Redis refused the functions, and they are not offered again before then.
    refused_until: Option<Instant>,
}

impl FunctionInstaller {
    pub fn new(lane: Arc<Lane>, context: Arc<RedisContext>) -> Self {
        Self { lane, context, refused_until: None }
    }

    /// Installs the functions, and takes over the rules there. A command only reads them.
    pub async fn install(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let library = self.context.library.current();
        let read = begin_read(&self.context);
        let found = match self.context.is_command {
            true => library.read(connection).await,
            false => library.install(connection, &BypassedHistory::default()).await,
        };
        let found =
            found.inspect_err(|error| telemetry::broker_refused("FUNCTION LOAD", "", error))?;
        learn_and_schedule(&self.context, &self.lane, read, &found);
        Ok(())
    }

    /// Installs functions that turned out to be missing. If Redis refuses them, publications that
    /// need them fail for a while instead of waiting. `Err`: why the connection is lost.
    pub async fn reinstall(
        &mut self,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), String> {
        match timeout(INSTALL_TIMEOUT, self.install(connection)).await {
            Ok(Ok(())) => self.refused_until = None,
            Ok(Err(error)) if error.is_io_error() => return Err(error.to_string()),
            Ok(Err(_)) if self.context.is_command => {
                // A command then publishes with a plain `PUBLISH`.
                let read = begin_read(&self.context);
                learn_and_schedule(&self.context, &self.lane, read, &Found::default());
            }
            Ok(Err(_)) => self.refused_until = Some(Instant::now() + REFUSED_PAUSE),
            Err(_) => return Err("no answer".to_owned()),
        }
        Ok(())
    }

    /// Records the secret of the server's functions. True: the server has no such function and may
    /// be offered it.
    pub fn learn_secret(&self, answer: &Value) -> bool {
        if let Value::BulkString(answer) = answer {
            self.lane.learn_secret(&self.context.secrets, answer);
        }
        PublishOutcome::of(answer) == PublishOutcome::Retry(Cause::NoFunction) && !self.is_refused()
    }

    /// Whether Redis has refused the functions a short while ago.
    pub fn is_refused(&self) -> bool {
        self.refused_until.is_some_and(|until| Instant::now() < until)
    }
}
