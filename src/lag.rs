//! Measures how late the runtime runs due tasks. A client's request is such a task, so a node that lags is not ready
//! for more clients.
//!
//! Two measures, of which the greater counts, because neither detects everything:
//!
//! - A task that is due every [`SAMPLE_INTERVAL`]: how late it runs, including tokio's rounding to a
//!   millisecond. It detects that all workers are saturated, that the process was stopped, and that it
//!   gets no CPU, such as beyond the CPU limit of its container. It does not detect one blocked worker of
//!   several, because another worker runs the task on time.
//! - [`Workers`]: detects one blocked worker of several. It does not detect workers that make progress, however long
//!   their queues.
//!
//! Neither detects what a socket of the system delays, nor a connection whose own task is slow.

mod lag_state;
mod workers;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::sleep;

use self::lag_state::LagState;
use self::workers::Workers;
use crate::limits::Limits;
use crate::{critical_tasks, telemetry};

/// The time between measurements. Each costs one timer and two values per worker, some microseconds.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// The current lag of the event loop. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Lag(Arc<Mutex<LagMeasurement>>);

/// The last measurement, and whether it is too much.
#[derive(Clone, Copy, Debug, Default)]
pub struct LagMeasurement {
    pub lag: Duration,
    /// Zero: there is no limit.
    pub max: Duration,
    /// The longest lag since the node was last well below the limit.
    pub peak: Duration,
    is_lagging: bool,
}

/// The event loop lags.
#[derive(Clone, Copy, Debug)]
pub struct Lagging {
    peak: Duration,
    max: Duration,
}

impl fmt::Display for Lagging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (peak, max) = (self.peak.as_millis(), self.max.as_millis());
        write!(f, "due tasks ran up to {peak} ms late, and {max} ms are allowed")
    }
}

impl Lag {
    /// Starts watching the current runtime, for ever.
    ///
    /// The only consequence is that the node is not ready, so that load balancers send new clients elsewhere. It
    /// still accepts clients, because refusing them costs the time that is short, and they would
    /// reconnect immediately.
    pub fn watch(limits: Limits) -> Self {
        let lag = Self::default();
        let watched = lag.clone();
        critical_tasks::spawn("event loop lag", async move {
            let mut workers = Workers::new(Handle::current().metrics(), Instant::now());
            let mut state = LagState::default();
            loop {
                let asleep = Instant::now();
                sleep(SAMPLE_INTERVAL).await;
                let now = Instant::now();
                let late = now.duration_since(asleep).saturating_sub(SAMPLE_INTERVAL);
                let lag = late.max(workers.stuck(now));
                let max = limits.get().event_loop_lag_max;
                state.add(lag, max);
                let (peak, is_lagging) = (state.peak(), state.is_lagging());
                watched.note(LagMeasurement { lag, max, peak, is_lagging });
            }
        });
        lag
    }

    pub fn measurement(&self) -> LagMeasurement {
        *self.lock()
    }

    fn note(&self, now: LagMeasurement) {
        telemetry::event_loop_lag(now.lag);
        let before = std::mem::replace(&mut *self.lock(), now);
        match (before.ready(), now.ready()) {
            (Ok(()), Err(why)) => telemetry::event_loop_lagging(&why),
            (Err(_), Ok(())) => telemetry::event_loop_recovered(),
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, LagMeasurement> {
        self.0.lock().expect("no code panics while it holds the lag's lock")
    }
}

impl LagMeasurement {
    /// Whether due tasks run soon enough for more clients.
    pub fn ready(&self) -> Result<(), Lagging> {
        match self.is_lagging {
            false => Ok(()),
            true => Err(Lagging { peak: self.peak, max: self.max }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Config;
    use std::sync::mpsc;

    const MAX: Duration = Duration::from_millis(200);
    const PATIENCE: Duration = Duration::from_secs(20);

    fn watched() -> Lag {
        Lag::watch(Limits::new(Config { event_loop_lag_max: MAX, ..Config::default() }))
    }

    async fn becomes(what: &str, wanted: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted() {
            assert!(Instant::now() < deadline, "{what}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn one_blocked_worker_of_three_makes_the_node_lag() {
        let lag = watched();
        let (let_go, held) = mpsc::channel::<()>();
        let blocked = tokio::spawn(async move { _ = held.recv() });
        becomes("a blocked worker makes it unready", || lag.measurement().ready().is_err()).await;
        assert!(lag.measurement().lag > MAX);
        drop(let_go);
        blocked.await.unwrap();
        becomes("what follows is measured", || lag.measurement().lag < MAX).await;
        assert!(lag.measurement().ready().is_err(), "it has yet to last");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_lag_of_all_blocked_workers_is_measured_once_they_are_free() {
        const BLOCKED: Duration = Duration::from_millis(600);
        let lag = watched();
        becomes("a first measure", || lag.measurement().max == MAX).await;
        let block = |_| {
            let (_open, held) = mpsc::channel::<()>();
            tokio::spawn(async move { _ = (held.recv_timeout(BLOCKED), _open) })
        };
        for blocked in (0..2).map(block).collect::<Vec<_>>() {
            blocked.await.unwrap();
        }
        becomes("both were blocked", || lag.measurement().peak > BLOCKED / 2).await;
    }
}
