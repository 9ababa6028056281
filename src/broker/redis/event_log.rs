//! Events for the backend through the Redis functions of `events.lua`.

pub mod calls;

use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, Value};
use futures_util::future::BoxFuture;

use self::calls::EventCalls;
use super::queries::{Queries, UNEXPECTED_REPLY};
use crate::broker::event_log::{EventBatch, EventLog, EventRenewal};
use crate::broker::unavailable::Unavailable;
use crate::publication::{Channel, NodeId};

/// Writes a node's events.
pub struct RedisEventLog {
    queries: Queries,
    calls: EventCalls,
    /// Determines the master.
    channel: Channel,
}

impl RedisEventLog {
    pub fn new(queries: Queries, calls: EventCalls) -> Self {
        let key = calls.nodes_key();
        let name = key.strip_prefix(&*queries.context.prefix).unwrap_or(key);
        Self { channel: Channel::internal(name), queries, calls }
    }

    async fn call<T>(
        &self,
        call: Cmd,
        read: impl FnOnce(Value) -> Result<T, ::redis::ParsingError>,
    ) -> Result<T, Unavailable> {
        let answer = self.queries.call(self.channel.clone(), call).await?;
        read(answer).map_err(|_| UNEXPECTED_REPLY)
    }
}

impl EventLog for RedisEventLog {
    fn write<'a>(&'a self, batch: &'a EventBatch) -> BoxFuture<'a, Result<bool, Unavailable>> {
        Box::pin(self.call(self.calls.write(batch), bool::from_redis_value))
    }

    fn renew(&self) -> BoxFuture<'_, Result<EventRenewal, Unavailable>> {
        Box::pin(self.call(self.calls.renew(), calls::renewal))
    }

    fn remove(&self, node: NodeId) -> BoxFuture<'_, Result<bool, Unavailable>> {
        Box::pin(self.call(self.calls.remove(node), bool::from_redis_value))
    }

    fn sweep(&self, generation: u64, cursor: u64) -> BoxFuture<'_, Result<u64, Unavailable>> {
        Box::pin(self.call(self.calls.sweep(generation, cursor), u64::from_redis_value))
    }

    fn leave(&self, grace: Duration) -> BoxFuture<'_, Result<bool, Unavailable>> {
        Box::pin(self.call(self.calls.leave(grace), bool::from_redis_value))
    }
}
