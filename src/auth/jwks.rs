//! The keys of an issuer, fetched from its JWKS and refreshed by a task.

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

/// How long fetched keys are fresh if the issuer sends no `max-age`, and the bounds of what it sends.
const MAX_AGE: Duration = Duration::from_secs(10 * 60);
const MAX_AGE_MIN: Duration = Duration::from_secs(60);
const MAX_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The share of the keys' `max-age` after which the node fetches them again.
const REFRESH_AT: f64 = 0.8;

/// How long keys that are no longer fresh stay valid while the issuer is not reachable.
const STALE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest pause between failed fetches.
const RETRY_MAX: Duration = Duration::from_secs(60);
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), RETRY_MAX);

/// The largest share by which a pause is shortened at random, so that nodes that started together stop fetching together.
const JITTER: f64 = 0.1;

/// The shortest time between fetches that tokens with unknown keys cause.
pub const REQUEST_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// A JWKS of the configuration.
#[derive(Clone, Debug)]
pub struct Jwks {
    pub address: JwksUrl,
    /// None: keys of all algorithms are used.
    pub only: Option<Algorithm>,
}

/// The keys of the last fetch.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    pub keys: Vec<Arc<VerificationKey>>,
    /// Increases by one whenever the keys change.
    pub version: u64,
    body: Bytes,
    /// When they expire, by either clock, because only one of them advances while a machine is suspended. None: there
    /// are no keys.
    stale_at: Option<(Instant, SystemTime)>,
}

/// A task that refreshes the keys. It ends when this is dropped.
#[derive(Debug)]
pub struct Fetching {
    jwks: Jwks,
    fetched: Live<Fetched>,
    refresh_requested: Arc<Notify>,
    progress: watch::Receiver<Progress>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    /// Fetches that have ended.
    rounds: u64,
    is_fetching: bool,
    /// The earliest time at which a requested fetch may start.
    may_begin_at: Instant,
}

impl Fetching {
    /// Fetches immediately, on the current runtime. Starts with the keys that `before` has of the same address.
    pub fn start(jwks: &Jwks, before: &[Self]) -> Self {
        let before = before.iter().find(|before| before.jwks.is_same(jwks));
        let fetched = before.map(|before| Live::new((*before.fetched.current()).clone()));
        let fetched = fetched.unwrap_or_default();
        let refresh_requested = Arc::new(Notify::new());
        let begin = Progress { rounds: 0, is_fetching: true, may_begin_at: Instant::now() };
        let (sender, progress) = watch::channel(begin);
        let task = RefreshTask {
            jwks: jwks.clone(),
            fetched: fetched.clone(),
            refresh_requested: refresh_requested.clone(),
            progress: sender,
            retry: RETRY,
        };
        let task = tokio::spawn(task.run());
        Self { jwks: jwks.clone(), fetched, refresh_requested, progress, task }
    }

    /// The current keys.
    pub fn fetched(&self) -> Arc<Fetched> {
        self.fetched.current()
    }

    /// Requests a fetch, unless one is running or the last one was too recent. The future waits for its end,
    /// at most [`fetch::TIMEOUT`] from now; all callers share the fetch.
    pub fn again(&self) -> impl Future<Output = ()> + use<> {
        let mut progress = self.progress.clone();
        let Progress { rounds, is_fetching, may_begin_at } = *progress.borrow_and_update();
        let is_due = is_fetching || Instant::now() >= may_begin_at;
        if is_due && !is_fetching {
            self.refresh_requested.notify_one();
        }
        let until = Instant::now() + fetch::TIMEOUT;
        async move {
            if is_due {
                let ended = progress.wait_for(|progress| progress.rounds > rounds);
                // Fails if the task has ended with its runtime.
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

/// The state of the task.
struct RefreshTask {
    jwks: Jwks,
    fetched: Live<Fetched>,
    refresh_requested: Arc<Notify>,
    progress: watch::Sender<Progress>,
    /// Counts the failed fetches since the last success.
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
            let may_begin_at = began + REQUEST_INTERVAL_MIN;
            self.progress.send_modify(|progress| {
                progress.rounds += 1;
                progress.is_fetching = false;
                progress.may_begin_at = may_begin_at;
            });
            let again = Instant::now() + jittered(pause, JITTER);
            self.pause(again, may_begin_at).await;
        }
    }

    /// Waits until the next fetch is due, or is requested and the last one is not too recent.
    async fn pause(&self, again: Instant, may_begin_at: Instant) {
        loop {
            tokio::select! {
                () = sleep_until(again) => return,
                () = self.refresh_requested.notified() => {
                    if Instant::now() >= may_begin_at {
                        return;
                    }
                }
            }
        }
    }

    /// Fetches the keys. Returns how long they are fresh.
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
