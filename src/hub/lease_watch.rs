//! Checks the leases of the runs that have subscribers on this node, so that a run whose worker is gone ends for
//! them. Every node with subscribers of a run does: the broker ends the run once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, interval};

use super::channel_cursor::ChannelCursor;
use super::registry::Registry;
use crate::broker::{Broker, RunState, Unavailable};
use crate::critical_tasks;
use crate::publication::{Channel, Position};
use crate::rules::Policy;

/// How often the watch looks for runs whose check is due.
const TICK: Duration = Duration::from_millis(200);

/// Most runs of one check, so that Redis serves others in between.
const BATCH_MAX: usize = 500;

/// How long after a lease ends the check may come, so that nodes do not check at the same moment.
const JITTER: Duration = Duration::from_millis(200);

/// When a run is checked again whose check failed, or whose end has not arrived.
const RETRY: Duration = Duration::from_secs(1);

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
    fn due(&self, now: Instant) -> Vec<Channel> {
        let runs = self.lock();
        let due = runs.iter().filter(|(_, run)| run.due <= now);
        due.take(BATCH_MAX).map(|(channel, _)| channel.clone()).collect()
    }

    /// Sets when the run is checked again. `ended_at`: where it ended, if that has not arrived. Returns where it
    /// had ended at the last check.
    fn check_in(
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

/// Starts the task, which runs as long as the runtime.
pub fn start(registry: Arc<Registry>, broker: Arc<dyn Broker>) {
    critical_tasks::spawn("lease watch", async move {
        let mut tick = interval(TICK);
        loop {
            tick.tick().await;
            let due = registry.channels.leases().due(Instant::now());
            let due = due.into_iter().filter(|channel| needs_check(&registry, channel));
            let due: Vec<Channel> = due.collect();
            if !due.is_empty() {
                let states = broker.check_runs(due.clone()).await;
                due.iter()
                    .zip(states)
                    .for_each(|(channel, state)| apply(&registry, channel, state));
            }
        }
    });
}

/// Whether the run may still end. If not, it is looked at again after its lease, because another may have begun.
fn needs_check(registry: &Registry, channel: &Channel) -> bool {
    let channels = &registry.channels;
    let Some(run) = channels.rules().of(channel.as_str()).run else {
        channels.leases().remove(channel);
        return false;
    };
    let has_ended = |cursor: &mut ChannelCursor| cursor.positions.run_end().is_some();
    let has_ended = channels.with_cursor(channel, |cursor, _| has_ended(cursor)).unwrap_or(false);
    if has_ended {
        channels.leases().check_in(channel, run.lease, None);
    }
    !has_ended
}

fn apply(registry: &Registry, channel: &Channel, state: Result<RunState, Unavailable>) {
    let channels = &registry.channels;
    let lease = channels.rules().of(channel.as_str()).run.map_or(RETRY, |run| run.lease);
    match state {
        Ok(RunState::None) => _ = channels.leases().check_in(channel, lease, None),
        Ok(RunState::Open(left)) => _ = channels.leases().check_in(channel, left, None),
        Ok(RunState::Ended(position)) => {
            let before = channels.leases().check_in(channel, RETRY, Some(position));
            // The end was published a while ago and has been lost on its way.
            if before == Some(position) {
                registry.catch_up_to(channel, position);
            }
        }
        Err(_) => _ = channels.leases().check_in(channel, RETRY, None),
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
        assert_eq!(watch.due(soon), [channel.clone()]);
        watch.check_in(&channel, lease, None);
        assert!(watch.due(soon).is_empty());
        assert_eq!(watch.due(soon + lease), [channel.clone()]);
        watch.add(&channel, policy);
        assert!(watch.due(soon).is_empty(), "it stays as it is");
        watch.remove(&channel);
        assert!(watch.due(soon + lease).is_empty());
        assert_eq!(watch.check_in(&channel, lease, None), None);
    }
}
