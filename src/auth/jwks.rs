//! The keys of an issuer, fetched from its JWKS and kept fresh by a task of their own.

mod address;
mod document;
mod fetch;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

pub use address::JwksUrl;
use bytes::Bytes;
pub use document::{UnusableKey, keys};
use fetch::{FetchError, fetch};

use super::{Algorithm, VerificationKey};
use crate::backoff::{Backoff, jittered};
use crate::live::Live;
use crate::telemetry;

/// How long fetched keys are fresh where the issuer does not say, and the bounds of what it may say.
const MAX_AGE: Duration = Duration::from_secs(10 * 60);
const MAX_AGE_MIN: Duration = Duration::from_secs(60);
const MAX_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// They are fetched again after this part of it.
const REFRESH_AT: f64 = 0.8;

/// How long keys that are no longer fresh count on, while the issuer cannot be reached.
const STALE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Pauses between fetches that fail.
const RETRY_MAX: Duration = Duration::from_secs(60);
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), RETRY_MAX);

/// The part by which each pause is cut at most, so that nodes that started together do not fetch together for ever.
const JITTER: f64 = 0.1;

/// Strangers with keys unheard of cannot make a node ask more often.
pub const WANTED_INTERVAL: Duration = Duration::from_secs(10);

/// A JWKS of the configuration.
#[derive(Clone, Debug)]
pub struct Jwks {
    pub address: JwksUrl,
    /// None: all of its keys count.
    pub only: Option<Algorithm>,
}

/// The keys as they were fetched last.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    pub keys: Vec<Arc<VerificationKey>>,
    /// Grows by one whenever the keys change.
    pub version: u64,
    body: Bytes,
    /// When they no longer count, by either clock: while a machine is suspended only one of them goes on. None:
    /// there are none.
    stale_at: Option<(Instant, SystemTime)>,
}

/// A running task that keeps keys fresh. It ends when this is dropped.
#[derive(Debug)]
pub struct Fetching {
    jwks: Jwks,
    fetched: Live<Fetched>,
    wanted: Arc<Notify>,
    progress: watch::Receiver<Progress>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    /// Fetches that have ended.
    rounds: u64,
    is_fetching: bool,
    /// None is begun earlier because somebody wants it.
    may_begin_at: Instant,
}

impl Fetching {
    /// Begins at once, on the current runtime, with the keys that one before had of the same address.
    pub fn start(jwks: &Jwks, before: &[Self]) -> Self {
        let before = before.iter().find(|before| before.jwks.is_same(jwks));
        let fetched = before.map(|before| Live::new((*before.fetched.current()).clone()));
        let fetched = fetched.unwrap_or_default();
        let wanted = Arc::new(Notify::new());
        let begin = Progress { rounds: 0, is_fetching: true, may_begin_at: Instant::now() };
        let (sender, progress) = watch::channel(begin);
        let task = RefreshTask {
            jwks: jwks.clone(),
            fetched: fetched.clone(),
            wanted: wanted.clone(),
            progress: sender,
            retry: RETRY,
        };
        let task = tokio::spawn(task.run());
        Self { jwks: jwks.clone(), fetched, wanted, progress, task }
    }

    /// The keys as they are now.
    pub fn fetched(&self) -> Arc<Fetched> {
        self.fetched.current()
    }

    /// Asks for a fetch, unless one is under way or the last was a moment ago. What is returned waits
    /// for its end, [`fetch::TIMEOUT`] from now at most; all who wait share it.
    pub fn again(&self) -> impl Future<Output = ()> + use<> {
        let mut progress = self.progress.clone();
        let Progress { rounds, is_fetching, may_begin_at } = *progress.borrow_and_update();
        let is_due = is_fetching || Instant::now() >= may_begin_at;
        if is_due && !is_fetching {
            self.wanted.notify_one();
        }
        let until = Instant::now() + fetch::TIMEOUT;
        async move {
            if is_due {
                let ended = progress.wait_for(|progress| progress.rounds > rounds);
                // Fails where the task has ended with its runtime.
                let _ = tokio::time::timeout_at(until, ended).await;
            }
        }
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Jwks {
    fn is_same(&self, other: &Self) -> bool {
        self.address.uri == other.address.uri && self.only == other.only
    }
}

/// What the task owns.
struct RefreshTask {
    jwks: Jwks,
    fetched: Live<Fetched>,
    wanted: Arc<Notify>,
    progress: watch::Sender<Progress>,
    /// Counts the fetches that have failed since the last that did not.
    retry: Backoff,
}

impl RefreshTask {
    async fn run(mut self) {
        loop {
            let began = Instant::now();
            self.progress.send_modify(|progress| progress.is_fetching = true);
            let pause = match self.fetch().await {
                Ok(fresh) => fresh.mul_f64(REFRESH_AT),
                Err(error) => {
                    let is_first = self.retry.failures() == 0;
                    telemetry::jwks_failed(&self.jwks.address, &error, is_first);
                    self.retry.next_pause()
                }
            };
            self.forget_stale();
            let may_begin_at = began + WANTED_INTERVAL;
            self.progress.send_modify(|progress| {
                progress.rounds += 1;
                progress.is_fetching = false;
                progress.may_begin_at = may_begin_at;
            });
            let again = Instant::now() + jittered(pause, JITTER);
            self.pause(again, may_begin_at).await;
        }
    }

    /// Until it is time, or somebody wants the keys and the last fetch is not too young.
    async fn pause(&self, again: Instant, may_begin_at: Instant) {
        loop {
            tokio::select! {
                () = sleep_until(again) => return,
                () = self.wanted.notified() => {
                    if Instant::now() >= may_begin_at {
                        return;
                    }
                }
            }
        }
    }

    /// How long what was fetched is fresh.
    async fn fetch(&mut self) -> Result<Duration, FetchError> {
        let answer = fetch(&self.jwks.address).await?;
        let fresh = answer.max_age.unwrap_or(MAX_AGE).clamp(MAX_AGE_MIN, MAX_AGE_MAX);
        let before = self.fetched.current();
        let is_same = !before.keys.is_empty() && before.body == answer.body;
        let (keys, version) = match is_same {
            true => (before.keys.clone(), before.version),
            false => (keys(&answer.body, self.jwks.only)?, before.version + 1),
        };
        if !is_same || self.retry.failures() > 0 {
            telemetry::jwks_fetched(&self.jwks.address, keys.len());
        }
        self.retry.reset();
        let lasts = fresh + STALE_MAX;
        let stale_at = Some((Instant::now() + lasts, SystemTime::now() + lasts));
        self.fetched.replace(Fetched { keys, version, body: answer.body, stale_at });
        Ok(fresh)
    }

    fn forget_stale(&self) {
        let before = self.fetched.current();
        let is_over = |(at, wall)| at <= Instant::now() || wall <= SystemTime::now();
        if before.stale_at.is_some_and(is_over) {
            telemetry::jwks_stale(&self.jwks.address);
            let version = before.version + 1;
            self.fetched.replace(Fetched { version, ..Fetched::default() });
        }
    }
}
