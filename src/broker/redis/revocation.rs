//! Keeps the node in step with the revocations in Redis: all are read whenever their channel has
//! been subscribed (again), and the latest now and then, so that a message that was lost heals.

pub mod calls;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ::redis::RedisError;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use crate::broker::redis::NOT_UNDERSTOOD;
use crate::broker::redis::Redis;
use crate::broker::redis::SILENT;
use crate::broker::redis::connection::link::QuestionError;
use crate::broker::redis::context::Context;
use crate::broker::redis::publishing::verdict::Cause;
use crate::broker::redis::revocation::calls::{PAGE_MAX, WRITES_MAX};
use crate::broker::{
    Event, Known, REVOCATIONS_MAX, REVOKING_MAX, Revocation, Revoking, Unavailable,
};
use crate::telemetry;

/// How often the latest revocations are read again, and all of them: cut by up to half at random, so
/// that the nodes of a fleet do not ask in one instant.
const RELOAD_INTERVAL: Duration = Duration::from_secs(30);
const RELOAD_ALL_INTERVAL: Duration = Duration::from_secs(600);

/// How much older than the latest what is read again may be: more than the nodes' clocks differ, since
/// each stamps what it was asked for.
const OVERLAP: Duration = Duration::from_secs(300);

/// Pauses before Redis is asked again when it could not answer: the first, and the longest.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Between two calls that write revocations again, so that others get their turn at Redis.
const WRITES_PAUSE: Duration = Duration::from_millis(5);

/// Pages of one reading: what may be there, and as many again for what is added meanwhile.
const PAGES_MAX: usize = 2 * REVOCATIONS_MAX / PAGE_MAX;

const TOO_MANY: Unavailable = Unavailable("too many revocations at once");

/// What the broker has at hand for revocations.
pub struct Desk {
    /// Their channel was subscribed: what was told before went past this node.
    pub subscribed: Notify,
    /// Places for those that are being handed to Redis.
    places: Semaphore,
}

impl Default for Desk {
    fn default() -> Self {
        Self { subscribed: Notify::new(), places: Semaphore::new(REVOKING_MAX) }
    }
}

impl Revoking for Redis {
    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(async move {
            let _place = self.0.revoking.places.try_acquire().map_err(|_| TOO_MANY)?;
            self.write_revocations(&[revocation]).await
        })
    }
}

/// Reads what is to be read, for ever.
pub async fn run(context: Arc<Context>) -> Infallible {
    let mut reader = Reader { redis: Redis(context), seen: 0 };
    let mut all_at = Instant::now();
    let mut failures = 0;
    loop {
        let pause = match failures {
            0 => RELOAD_INTERVAL,
            _ => (RETRY_PAUSE * 2u32.pow(failures.min(8) - 1)).min(RETRY_PAUSE_MAX),
        };
        let subscribed = reader.redis.0.revoking.subscribed.notified();
        if timeout(jittered(pause), subscribed).await.is_ok() {
            all_at = Instant::now();
        }
        let all = all_at <= Instant::now();
        match reader.read(all).await {
            Ok(()) if all => {
                (all_at, failures) = (Instant::now() + jittered(RELOAD_ALL_INTERVAL), 0);
            }
            Ok(()) => failures = 0,
            Err(Unavailable(_)) => failures += 1,
        }
    }
}

fn jittered(time: Duration) -> Duration {
    time.mul_f64(rand::random_range(0.5..=1.0))
}

struct Reader {
    redis: Redis,
    /// The latest revocation of what was read whole, in Unix milliseconds.
    seen: u64,
}

impl Reader {
    /// Reads all revocations, or the latest, and hands them on; of all of them, what is missing in
    /// Redis is written again.
    async fn read(&mut self, all: bool) -> Result<(), Unavailable> {
        let since = match all {
            true => 0,
            false => self.seen.saturating_sub(OVERLAP.as_millis() as u64),
        };
        let (mut known, mut latest) = (Known::new(), self.seen);
        for number in 0..PAGES_MAX {
            let page = self.redis.revocations(number).await?;
            let is_last = page.len() < PAGE_MAX || page.last().is_none_or(|(_, it)| *it < since);
            for (user, before) in page {
                latest = latest.max(before);
                (self.redis.0.sink)(Event::Revoked { user: &user, before });
                if all {
                    known.entry(user.into()).or_insert(before);
                }
            }
            if is_last {
                break;
            }
        }
        self.seen = latest;
        if all {
            let mut missing = Vec::new();
            (self.redis.0.sink)(Event::RevocationsRead { known: &known, missing: &mut missing });
            for some in missing.chunks(WRITES_MAX) {
                self.redis.write_revocations(some).await?;
                sleep(WRITES_PAUSE).await;
            }
        }
        Ok(())
    }
}

impl Redis {
    /// The page of this number, latest first.
    async fn revocations(&self, number: usize) -> Result<Vec<(String, u64)>, Unavailable> {
        let channel = calls::channel();
        let lane = self.0.map.lane(&channel).ok_or(SILENT)?;
        let command = calls::read(&self.0.name(&channel), number);
        let answer = self.question(&lane, &command).await.map_err(|error| {
            match &error {
                QuestionError::Redis(refusal) if is_lasting(refusal) => {
                    telemetry::broker_refused("ZRANGE", &self.0.name(&channel), refusal);
                }
                _ => telemetry::broker_did_not_answer(&error),
            }
            SILENT
        })?;
        calls::page(answer).map_err(|_| NOT_UNDERSTOOD)
    }

    /// Writes up to [`WRITES_MAX`] and tells all nodes of those that are new.
    async fn write_revocations(&self, some: &[Revocation]) -> Result<(), Unavailable> {
        let channel = calls::channel();
        let publish = if self.0.map.is_sharded() { "SPUBLISH" } else { "PUBLISH" };
        let call = calls::write(&self.0.name(&channel), publish, some);
        let answer = self.call_each(vec![(channel, call)]).await.pop();
        answer.unwrap_or(Err(NOT_UNDERSTOOD)).map(|_| ())
    }
}

/// Did Redis say something that asking again does not mend?
fn is_lasting(error: &RedisError) -> bool {
    let cause = |code| Cause::of(code, error.detail().unwrap_or_default());
    error.code().is_some_and(|code| cause(code).is_none())
}
