//! Revocations in Redis: writing them, and reading them page by page.

pub mod calls;
pub mod reading;

use ::redis::RedisError;
use tokio::sync::Semaphore;

use super::connection::cause::Cause;
use super::connection::pool::QuestionError;
use super::questions::{NOT_UNDERSTOOD, Questions, SILENT};
use crate::broker::revocation::{REVOKING_MAX, Revocation};
use crate::broker::unavailable::Unavailable;
use crate::telemetry;

const TOO_MANY: Unavailable = Unavailable("too many revocations at once");

/// Writes and reads the revocations that Redis keeps.
pub struct RedisRevocations {
    questions: Questions,
    /// Places for those that are being handed to Redis.
    places: Semaphore,
}

impl RedisRevocations {
    pub fn new(questions: Questions) -> Self {
        Self { questions, places: Semaphore::new(REVOKING_MAX) }
    }

    /// Writes one, where not too many are under way.
    pub async fn revoke(&self, revocation: Revocation) -> Result<(), Unavailable> {
        let _place = self.places.try_acquire().map_err(|_| TOO_MANY)?;
        self.write(&[revocation]).await
    }

    /// Writes up to [`calls::WRITES_MAX`] and tells all nodes of those that are new.
    pub async fn write(&self, some: &[Revocation]) -> Result<(), Unavailable> {
        let context = &self.questions.context;
        let channel = calls::channel();
        let call = calls::write(&context.name(&channel), context.pubsub.publish(), some);
        self.questions.call(channel, call).await.map(|_| ())
    }

    /// The page of this number, latest first.
    pub async fn page(&self, number: usize) -> Result<Vec<(String, u64)>, Unavailable> {
        let context = &self.questions.context;
        let channel = calls::channel();
        let lane = context.map.lane(&channel).ok_or(SILENT)?;
        let command = calls::read(&context.name(&channel), number);
        let answer = self.questions.question(&lane, &command).await.map_err(|error| {
            match &error {
                QuestionError::Redis(refusal) if is_lasting(refusal) => {
                    telemetry::broker_refused("ZRANGE", &context.name(&channel), refusal);
                }
                _ => telemetry::broker_did_not_answer(&error),
            }
            SILENT
        })?;
        calls::page(answer).map_err(|_| NOT_UNDERSTOOD)
    }
}

/// Did Redis say something that asking again does not mend?
fn is_lasting(error: &RedisError) -> bool {
    error.code().is_some() && Cause::of_error(error).is_none()
}
