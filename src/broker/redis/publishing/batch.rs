//! One pipeline: publications, and what is asked along with them.

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{Pipeline, Value};
use tokio::time::{Instant, timeout_at};

use super::command;
use super::limits::BatchLimits;
use super::master_queue::QueuedPublication;
use super::replicas::REPLICA_TIMEOUT;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::secret;

pub struct PublishBatch {
    pipeline: Pipeline,
    publications: usize,
    waits: bool,
    asks_role: bool,
}

impl PublishBatch {
    /// `key`: as in [`command::add`].
    pub fn new(
        context: &RedisContext,
        publications: &[QueuedPublication],
        key: Option<&str>,
    ) -> Self {
        let mut pipeline = Pipeline::with_capacity(publications.len() + 1);
        for queued in publications {
            command::add(context, &mut pipeline, queued, key);
        }
        Self { pipeline, publications: publications.len(), waits: false, asks_role: false }
    }

    /// Waits until a replica has what is appended.
    pub fn wait_for_replica(&mut self) {
        self.pipeline.cmd("WAIT").arg(1).arg(REPLICA_TIMEOUT.as_millis() as u64);
        self.waits = true;
    }

    /// Asks what the server is: its limits, its secret, which changes where an operator replaces the functions by
    /// others, and its role. To be called last.
    pub fn ask_role(&mut self, limits: &BatchLimits) {
        limits.ask(&mut self.pipeline);
        self.pipeline.add_command(secret::question()).cmd("ROLE");
        self.asks_role = true;
    }

    /// Err: the connection is lost, and why.
    pub async fn ask(
        &self,
        connection: &mut MultiplexedConnection,
        deadline: Instant,
    ) -> Result<Vec<Value>, String> {
        let asking = connection.req_packed_commands(&self.pipeline, 0, self.pipeline.len());
        match timeout_at(deadline, asking).await {
            Ok(answers) => answers.map_err(|error| error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    /// Has a replica what was appended? None: that was not asked.
    pub fn is_confirmed(&self, answers: &[Value]) -> Option<bool> {
        self.waits.then(|| matches!(answers.get(self.publications), Some(Value::Int(1..))))
    }

    /// What the server is. None: that was not asked.
    pub fn about_server<'a>(&self, answers: &'a [Value]) -> Option<AboutServer<'a>> {
        let of_limits = self.publications + usize::from(self.waits);
        self.asks_role.then(|| AboutServer {
            role: answers.last(),
            secret: answers.iter().nth_back(1),
            limits: answers.get(of_limits..).unwrap_or_default(),
        })
    }
}

/// What a server says of itself.
pub struct AboutServer<'a> {
    pub role: Option<&'a Value>,
    pub secret: Option<&'a Value>,
    /// Those of its limits stand first.
    pub limits: &'a [Value],
}
