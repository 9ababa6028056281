//! Measures how long each worker of the runtime has made no progress.
//!
//! A worker updates its metrics when it parks, when it wakes, and after 61 polls. A worker that is awake and
//! whose metrics do not change is stuck in one of these polls, or gets no CPU; its local queue, and its next task,
//! which no other worker can steal, are delayed as long.

use std::time::{Duration, Instant};

use tokio::runtime::RuntimeMetrics;

/// The last sample of each worker.
pub struct Workers {
    runtime: RuntimeMetrics,
    samples: Vec<WorkerSample>,
}

struct WorkerSample {
    parks: u64,
    busy: Duration,
    /// When these values were first seen.
    since: Instant,
}

impl Workers {
    pub fn new(runtime: RuntimeMetrics, now: Instant) -> Self {
        let seen = (0..runtime.num_workers()).map(|_| WorkerSample {
            parks: 0,
            busy: Duration::ZERO,
            since: now,
        });
        Self { samples: seen.collect(), runtime }
    }

    /// The longest time that a worker has made no progress. May be too short by at most the time between two
    /// calls.
    pub fn stuck(&mut self, now: Instant) -> Duration {
        let mut longest = Duration::ZERO;
        for (worker, seen) in self.samples.iter_mut().enumerate() {
            let parks = self.runtime.worker_park_unpark_count(worker);
            let busy = self.runtime.worker_total_busy_duration(worker);
            // Parking and waking are both counted: an odd number means that the worker is parked.
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

    /// Far longer than any worker of a busy machine waits for CPU.
    const STUCK: Duration = Duration::from_millis(500);
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Waits until the longest time without progress is as wanted.
    async fn becomes(workers: &mut Workers, what: &str, wanted: impl Fn(Duration) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(workers.stuck(Instant::now())) {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn one_blocked_worker_of_three_is_detected_and_idle_workers_are_not() {
        let runtime = tokio::runtime::Handle::current();
        let mut workers = Workers::new(runtime.metrics(), Instant::now());
        let (let_go, held) = mpsc::channel::<()>();
        let blocked = tokio::spawn(async move { _ = held.recv() });
        becomes(&mut workers, "a blocked worker shows", |stuck| stuck > STUCK).await;
        drop(let_go);
        blocked.await.unwrap();
        becomes(&mut workers, "and is well again", |stuck| stuck < STUCK).await;
        // All workers are idle and parked, which is not lag, however long it lasts.
        let began = Instant::now();
        while began.elapsed() < STUCK * 2 {
            tokio::time::sleep(STUCK / 10).await;
            assert!(workers.stuck(Instant::now()) < STUCK, "idle workers do not lag");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn busy_workers_that_make_progress_are_not_reported_as_stuck() {
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
