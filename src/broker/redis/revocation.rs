//! Revocations in Redis: writing them, and reading them page by page.

pub mod calls;
pub mod reading;

use ::redis::RedisError;
use tokio::sync::Semaphore;

use super::connection::cause::Cause;
use super::connection::pool::QueryError;
use super::queries::{NO_REPLY, Queries, UNEXPECTED_REPLY};
use crate::broker::revocation::{REVOKING_MAX, Revocation};
use crate::broker::unavailable::Unavailable;
use crate::telemetry;

const TOO_MANY: Unavailable = Unavailable("too many revocations at once");

/// Writes and reads the revocations in Redis.
pub struct RedisRevocations {
    queries: Queries,
    /// One permit for each running call.
    permits: Semaphore,
}

impl RedisRevocations {
    pub fn new(questions: Queries) -> Self {
        Self { queries: questions, permits: Semaphore::new(REVOKING_MAX) }
    }

    /// Writes a revocation unless too many calls are running.
    pub async fn revoke(&self, revocation: Revocation) -> Result<(), Unavailable> {
        let _permit = self.permits.try_acquire().map_err(|_| TOO_MANY)?;
        self.write(&[revocation]).await
    }

    /// Writes up to [`calls::WRITES_MAX`] revocations and notifies all nodes of the new ones.
    pub async fn write(&self, revocations: &[Revocation]) -> Result<(), Unavailable> {
        let context = &self.queries.context;
        let channel = calls::channel();
        let call = calls::write(&context.name(&channel), context.pubsub.publish(), revocations);
        self.queries.call(channel, call).await.map(|_| ())
    }

    /// The page with this number, latest first.
    pub async fn page(&self, number: usize) -> Result<Vec<(String, u64)>, Unavailable> {
        let context = &self.queries.context;
        let channel = calls::channel();
        let lane = context.map.lane(&channel).ok_or(NO_REPLY)?;
        let command = calls::read(&context.name(&channel), number);
        let answer = self.queries.query(&lane, &command).await.map_err(|error| {
            match &error {
                QueryError::Redis(refusal) if is_lasting(refusal) => {
                    telemetry::broker_refused("ZRANGE", &context.name(&channel), refusal);
                }
                _ => telemetry::broker_did_not_answer(&error),
            }
            NO_REPLY
        })?;
        calls::page(answer).map_err(|_| UNEXPECTED_REPLY)
    }
}

/// Whether retrying cannot help against this error.
fn is_lasting(error: &RedisError) -> bool {
    error.code().is_some() && Cause::of_error(error).is_none()
}
