//! One pipeline: publications, and commands that are sent along with them.

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
    has_wait: bool,
    has_role: bool,
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
        Self { pipeline, publications: publications.len(), has_wait: false, has_role: false }
    }

    /// Adds a `WAIT` until a replica has what was appended.
    pub fn wait_for_replica(&mut self) {
        self.pipeline.cmd("WAIT").arg(1).arg(REPLICA_TIMEOUT.as_millis() as u64);
        self.has_wait = true;
    }

    /// Adds queries of the server: its limits, its secret (which changes if an operator replaces
    /// the functions), and its role. Call it last.
    pub fn add_role(&mut self, limits: &BatchLimits) {
        limits.add_queries(&mut self.pipeline);
        self.pipeline.add_command(secret::get_command()).cmd("ROLE");
        self.has_role = true;
    }

    /// `Err`: why the connection is lost.
    pub async fn send(
        &self,
        connection: &mut MultiplexedConnection,
        deadline: Instant,
    ) -> Result<Vec<Value>, String> {
        let sending = connection.req_packed_commands(&self.pipeline, 0, self.pipeline.len());
        match timeout_at(deadline, sending).await {
            Ok(answers) => answers.map_err(|error| error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    /// Whether a replica has what was appended. `None`: the batch had no `WAIT`.
    pub fn is_confirmed(&self, answers: &[Value]) -> Option<bool> {
        self.has_wait.then(|| matches!(answers.get(self.publications), Some(Value::Int(1..))))
    }

    /// The replies about the server. `None`: the batch had no such queries.
    pub fn server_info<'a>(&self, answers: &'a [Value]) -> Option<ServerInfo<'a>> {
        let of_limits = self.publications + usize::from(self.has_wait);
        self.has_role.then(|| ServerInfo {
            role: answers.last(),
            secret: answers.iter().nth_back(1),
            limits: answers.get(of_limits..).unwrap_or_default(),
        })
    }
}

/// The replies about a server.
pub struct ServerInfo<'a> {
    pub role: Option<&'a Value>,
    pub secret: Option<&'a Value>,
    /// Begins with the replies about its limits.
    pub limits: &'a [Value],
}
