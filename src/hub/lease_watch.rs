//! When the leases of the runs that sessions of this node use are checked next. Plain data behind a lock.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::publication::{Channel, Position};
use crate::rules::Policy;

/// Most runs of one check, so that Redis serves others in between.
const BATCH_MAX: usize = 500;

/// How long after a lease ends the check may come, so that nodes do not check at the same moment.
const JITTER: Duration = Duration::from_millis(200);

/// When a run is checked again whose check failed, or whose end has not arrived.
pub const RETRY: Duration = Duration::from_secs(1);

/// The longest time between two checks of a run.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// The channels of runs that sessions of this node use.
#[derive(Default)]
pub struct LeaseWatch {
    runs: Mutex<HashMap<Channel, WatchedRun>>,
}

struct WatchedRun {
    due: Instant,
    /// The broker has said that it has ended here, and its end had not arrived.
    ended_at: Option<Position>,
}

impl LeaseWatch {
    /// Watches the channel if its rule has runs.
    pub fn add(&self, channel: &Channel, policy: Policy) {
        if let Some(run) = policy.run {
            // Its lease may be nearly over.
            let due = Instant::now() + jittered(run.lease.min(RETRY) / 2);
            let watched = WatchedRun { due, ended_at: None };
            self.lock().entry(channel.clone()).or_insert(watched);
        }
    }

    pub fn remove(&self, channel: &Channel) {
        let mut runs = self.lock();
        if !runs.is_empty() {
            runs.remove(channel);
        }
    }

    /// The channels whose check is due, at most [`BATCH_MAX`].
    pub fn due(&self, now: Instant) -> Vec<Channel> {
        let runs = self.lock();
        let due = runs.iter().filter(|(_, run)| run.due <= now);
        due.take(BATCH_MAX).map(|(channel, _)| channel.clone()).collect()
    }

    /// Sets when the run is checked again. `ended_at`: where it ended, if that has not arrived. Returns where it
    /// had ended at the last check.
    pub fn check_in(
        &self,
        channel: &Channel,
        pause: Duration,
        ended_at: Option<Position>,
    ) -> Option<Position> {
        let mut runs = self.lock();
        // None: no session uses the channel any more.
        let run = runs.get_mut(channel)?;
        run.due = Instant::now() + jittered(pause.min(INTERVAL_MAX));
        std::mem::replace(&mut run.ended_at, ended_at)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Channel, WatchedRun>> {
        self.runs.lock().expect("no code panics while it holds the lock")
    }
}

fn jittered(pause: Duration) -> Duration {
    pause + JITTER.mul_f64(rand::random())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Rules, Run};

    #[test]
    fn a_run_is_due_once_its_lease_may_be_over_and_until_no_session_uses_it() {
        let watch = LeaseWatch::default();
        let channel = Channel::new("run:1").unwrap();
        let lease = Duration::from_secs(30);
        let policy = Policy { run: Some(Run { lease, merge: None }), ..Policy::default() };
        watch.add(&channel, Rules::default().of("news"));
        assert!(watch.lock().is_empty(), "only runs are watched");
        watch.add(&channel, policy);
        let soon = Instant::now() + RETRY;
        assert_eq!(watch.due(soon), std::slice::from_ref(&channel));
        watch.check_in(&channel, lease, None);
        assert!(watch.due(soon).is_empty());
        assert_eq!(watch.due(soon + lease), std::slice::from_ref(&channel));
        watch.add(&channel, policy);
        assert!(watch.due(soon).is_empty(), "it stays as it is");
        watch.remove(&channel);
        assert!(watch.due(soon + lease).is_empty());
        assert_eq!(watch.check_in(&channel, lease, None), None);
    }
}
