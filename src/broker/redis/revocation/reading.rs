//! Keeps the node in step with the revocations in Redis: all are read whenever their channel has
//! been subscribed (again), and the latest now and then, so that a message that was lost heals.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::RedisRevocations;
use super::calls::{PAGE_MAX, WRITES_MAX};
use crate::backoff::{Backoff, jittered};
use crate::broker::event::BrokerEvent;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::questions::Questions;
use crate::broker::revocation::{KnownRevocations, REVOCATIONS_MAX};
use crate::broker::unavailable::Unavailable;

/// How often the latest revocations are read again, and all of them: cut by up to half at random, so
/// that the nodes of a fleet do not ask in one instant.
const RELOAD_INTERVAL: Duration = Duration::from_secs(30);
const RELOAD_ALL_INTERVAL: Duration = Duration::from_secs(600);

/// How much older than the latest what is read again may be: more than the nodes' clocks differ, since
/// each stamps what it was asked for.
const OVERLAP: Duration = Duration::from_secs(300);

/// Before Redis is asked again when it could not answer.
const RETRY_PAUSE: Backoff =
    Backoff::new(Duration::from_millis(250), Duration::from_secs(30)).with_jitter(JITTER);

/// By how much pauses are cut at most, at random.
const JITTER: f64 = 0.5;

/// Between two calls that write revocations again, so that others get their turn at Redis.
const WRITES_PAUSE: Duration = Duration::from_millis(5);

/// Pages of one reading: what may be there, and as many again for what is added meanwhile.
const PAGES_MAX: usize = 2 * REVOCATIONS_MAX / PAGE_MAX;

/// Reads what is to be read, for ever.
pub async fn run(context: Arc<RedisContext>) -> Infallible {
    let revocations = RedisRevocations::new(Questions { context: context.clone() });
    let mut reader = RevocationReader { revocations, context: context.clone(), seen: 0 };
    let mut all_at = Instant::now();
    let mut retry = RETRY_PAUSE;
    let mut pause = jittered(RELOAD_INTERVAL, JITTER);
    loop {
        let subscribed = context.revocations_subscribed.notified();
        if timeout(pause, subscribed).await.is_ok() {
            all_at = Instant::now();
        }
        let all = all_at <= Instant::now();
        match reader.read(all).await {
            Ok(()) => {
                retry.reset();
                pause = jittered(RELOAD_INTERVAL, JITTER);
                if all {
                    all_at = Instant::now() + jittered(RELOAD_ALL_INTERVAL, JITTER);
                }
            }
            Err(Unavailable(_)) => pause = retry.next_pause(),
        }
    }
}

struct RevocationReader {
    revocations: RedisRevocations,
    context: Arc<RedisContext>,
    /// The latest revocation of what was read whole, in Unix milliseconds.
    seen: u64,
}

impl RevocationReader {
    /// Reads all revocations, or the latest, and hands them on; of all of them, what is missing in
    /// Redis is written again.
    async fn read(&mut self, all: bool) -> Result<(), Unavailable> {
        let since = match all {
            true => 0,
            false => self.seen.saturating_sub(OVERLAP.as_millis() as u64),
        };
        let (mut known, mut latest) = (KnownRevocations::new(), self.seen);
        for number in 0..PAGES_MAX {
            let page = self.revocations.page(number).await?;
            let is_last = page.len() < PAGE_MAX || page.last().is_none_or(|(_, it)| *it < since);
            for (user, before) in page {
                latest = latest.max(before);
                (self.context.sink)(BrokerEvent::Revoked { user: &user, before });
                if all {
                    known.entry(user.into()).or_insert(before);
                }
            }
            if is_last {
                break;
            }
        }
        self.seen = latest;
        if all { self.write_missing(&known).await } else { Ok(()) }
    }

    /// Has the node compare what it knows, and writes what Redis has forgotten.
    async fn write_missing(&self, known: &KnownRevocations) -> Result<(), Unavailable> {
        let mut missing = Vec::new();
        (self.context.sink)(BrokerEvent::RevocationsRead { known, missing: &mut missing });
        for some in missing.chunks(WRITES_MAX) {
            self.revocations.write(some).await?;
            sleep(WRITES_PAUSE).await;
        }
        Ok(())
    }
}
