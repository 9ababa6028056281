//! Keeps the node's revocations equal to those in Redis: all are read whenever their channel has
//! been subscribed, and the latest are read periodically, in case a message was lost.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::RedisRevocations;
use super::calls::{PAGE_MAX, WRITES_MAX};
use crate::backoff::{Backoff, jittered};
use crate::broker::event::BrokerEvent;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::queries::Queries;
use crate::broker::revocation::{KnownRevocations, REVOCATIONS_MAX};
use crate::broker::unavailable::Unavailable;

/// How often the latest revocations, and all of them, are read again. Shortened at random by up to
/// half, so that the nodes of a fleet do not read at the same moment.
const RELOAD_INTERVAL: Duration = Duration::from_secs(30);
const RELOAD_ALL_INTERVAL: Duration = Duration::from_secs(600);

/// How far before the latest revocation reading starts again: more than the nodes' clocks differ,
/// because each node writes its own time.
const OVERLAP: Duration = Duration::from_secs(300);

/// Pause before a failed read is repeated.
const RETRY_PAUSE: Backoff =
    Backoff::new(Duration::from_millis(250), Duration::from_secs(30)).with_jitter(JITTER);

/// Maximum share by which pauses are shortened at random.
const JITTER: f64 = 0.5;

/// Pause between two calls that write revocations again, so that other calls are served.
const WRITES_PAUSE: Duration = Duration::from_millis(5);

/// Maximum number of pages of one reading: the stored ones, and as many again for those added
/// meanwhile.
const PAGES_MAX: usize = 2 * REVOCATIONS_MAX / PAGE_MAX;

/// Reads revocations, without end.
pub async fn run(context: Arc<RedisContext>) -> Infallible {
    let revocations = RedisRevocations::new(Queries { context: context.clone() });
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
    /// The latest revocation of the last complete reading, in Unix milliseconds.
    seen: u64,
}

impl RevocationReader {
    /// Reads all revocations, or the latest, and hands them to the hub. After reading all, writes
    /// those that are missing in Redis.
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

    /// Lets the hub compare its revocations, and writes those that Redis lacks.
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
