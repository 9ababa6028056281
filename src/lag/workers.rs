//! How long each of the runtime's workers has got nowhere.
//!
//! A worker tells its figures when it parks, when it wakes, and after 61 polls. One that is awake and
//! whose figures stay as they are is stuck in one of these polls, or is not given a processor; what
//! stands in its own line, and its next task which nobody can steal, wait as long.

use std::time::{Duration, Instant};

use tokio::runtime::RuntimeMetrics;

/// The workers of a runtime as they were last seen.
pub struct Workers {
    runtime: RuntimeMetrics,
    seen: Vec<WorkerSample>,
}

struct WorkerSample {
    parks: u64,
    busy: Duration,
    /// When these figures were first seen.
    since: Instant,
}

impl Workers {
    pub fn new(runtime: RuntimeMetrics, now: Instant) -> Self {
        let seen = (0..runtime.num_workers()).map(|_| WorkerSample {
            parks: 0,
            busy: Duration::ZERO,
            since: now,
        });
        Self { seen: seen.collect(), runtime }
    }

    /// For how long the worker that is worst off has been seen to get nowhere: at most what has passed
    /// between two looks less than it was.
    pub fn stuck(&mut self, now: Instant) -> Duration {
        let mut longest = Duration::ZERO;
        for (worker, seen) in self.seen.iter_mut().enumerate() {
            let parks = self.runtime.worker_park_unpark_count(worker);
            let busy = self.runtime.worker_total_busy_duration(worker);
            // Each parking and each waking is counted: an odd number is one that sleeps.
            if parks % 2 == 1 || (parks, busy) != (seen.parks, seen.busy) {
                *seen = WorkerSample { parks, busy, since: now };
            }
            longest = longest.max(now.duration_since(seen.since));
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Far longer than any worker of a busy machine waits for a processor.
    const STUCK: Duration = Duration::from_millis(500);
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Looks until the worker that is worst off is as wanted.
    async fn becomes(workers: &mut Workers, what: &str, wanted: impl Fn(Duration) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(workers.stuck(Instant::now())) {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn one_of_three_that_is_blocked_shows_and_those_asleep_do_not() {
        let runtime = tokio::runtime::Handle::current();
        let mut workers = Workers::new(runtime.metrics(), Instant::now());
        let (let_go, held) = mpsc::channel::<()>();
        let blocked = tokio::spawn(async move { _ = held.recv() });
        becomes(&mut workers, "a blocked worker shows", |stuck| stuck > STUCK).await;
        drop(let_go);
        blocked.await.unwrap();
        becomes(&mut workers, "and is well again", |stuck| stuck < STUCK).await;
        // Nobody has anything to do: all of them sleep, which is no lag however long it lasts.
        let began = Instant::now();
        while began.elapsed() < STUCK * 2 {
            tokio::time::sleep(STUCK / 10).await;
            assert!(workers.stuck(Instant::now()) < STUCK, "idle workers do not lag");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn workers_that_are_busy_but_get_on_do_not_show() {
        let runtime = tokio::runtime::Handle::current();
        let mut workers = Workers::new(runtime.metrics(), Instant::now());
        let busy = |_| {
            tokio::spawn(async {
                loop {
                    tokio::task::yield_now().await;
                }
            })
        };
        let busy: Vec<_> = (0..8).map(busy).collect();
        let began = Instant::now();
        while began.elapsed() < STUCK * 2 {
            tokio::task::yield_now().await;
            assert!(workers.stuck(Instant::now()) < STUCK, "they all get on");
        }
        busy.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
