//! Upkeep of the functions of the server that is published to.

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
use crate::broker::redis::rules::installing::learn_and_tell;
use crate::telemetry;

/// How long the functions may take to be installed.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long it is left at that when Redis has refused the functions.
const LACKING_PAUSE: Duration = Duration::from_secs(5);

/// Has the server have the functions.
pub struct FunctionInstaller {
    lane: Arc<Lane>,
    context: Arc<RedisContext>,
    /// Redis refused the functions, and is not asked to take them again before.
    lacks_until: Option<Instant>,
}

impl FunctionInstaller {
    pub fn new(lane: Arc<Lane>, context: Arc<RedisContext>) -> Self {
        Self { lane, context, lacks_until: None }
    }

    /// Installs the functions, and takes up the rules there. A visitor takes them as they are.
    pub async fn install(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let library = self.context.library.current();
        let found = match self.context.is_visitor {
            true => library.read(connection).await,
            false => library.install(connection, &BypassedHistory::default()).await,
        };
        let found =
            found.inspect_err(|error| telemetry::broker_refused("FUNCTION LOAD", "", error))?;
        learn_and_tell(&self.context, &self.lane, &found);
        Ok(())
    }

    /// Installs the functions that turned out to be missing. Where Redis refuses them, whoever
    /// needs them is told so for a while, and not kept waiting. Err: the connection is lost, and why.
    pub async fn mend(&mut self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        match timeout(INSTALL_TIMEOUT, self.install(connection)).await {
            Ok(Ok(())) => self.lacks_until = None,
            Ok(Err(error)) if error.is_io_error() => return Err(error.to_string()),
            Ok(Err(_)) if self.context.is_visitor => {
                // As if there were none: what a visitor publishes goes out plainly.
                learn_and_tell(&self.context, &self.lane, &Found::default());
            }
            Ok(Err(_)) => self.lacks_until = Some(Instant::now() + LACKING_PAUSE),
            Err(_) => return Err("no answer".to_owned()),
        }
        Ok(())
    }

    /// Notes what the server's functions sign with. True: it has no such function, and may be asked to take
    /// them.
    pub fn learn_secret(&self, answer: &Value) -> bool {
        if let Value::BulkString(answer) = answer {
            self.lane.learn(&self.context.secrets, answer);
        }
        PublishOutcome::of(answer) == PublishOutcome::Later(Cause::NoFunction) && !self.is_refused()
    }

    /// Has Redis refused to take the functions a short while ago?
    pub fn is_refused(&self) -> bool {
        self.lacks_until.is_some_and(|until| Instant::now() < until)
    }
}
