//! The drain: the node's phases, when which client is told to reconnect, and how long that client should wait.

mod pacer;
mod plan;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

pub use self::plan::{AFTER_MAX, Plan, closes_within, left};
use crate::close::Close;
use crate::live::Live;
use crate::outbound::Outbound;
use crate::settings::Settings;
use crate::telemetry;

/// The longest that an ending session waits for the broker, whatever `broker.publish_timeout` is. The node exits at
/// most ten seconds after `drain.delay` and `drain.period`.
pub const LEAVE_MAX: Duration = Duration::from_secs(5);

/// The `[drain]` section.
#[derive(Clone, Debug)]
pub struct Config {
    pub delay: Duration,
    pub period: Duration,
    pub reconnects_per_second: usize,
    pub rebalance_percent: usize,
    pub rebalance_after: Duration,
}

impl Config {
    pub fn read(settings: &mut Settings) -> Self {
        let mut section = settings.section("drain");
        let hour = Duration::from_secs(3600);
        Self {
            delay: section.duration(
                "delay",
                "5s",
                Duration::ZERO..=hour,
                "After SIGTERM or `POST /api/drain` the node is not ready but still serves for this long, \
                 so that load balancers notice. SIGINT skips it.",
            ),
            period: section.duration(
                "period",
                "20s",
                Duration::ZERO..=hour,
                "The node spreads the closes (1012) over this time, so that the other nodes do not get all \
                 clients at once. SIGINT at a terminal spreads them over less than a second. To kill the \
                 process, wait for `delay` and `period` and some seconds more.",
            ),
            reconnects_per_second: section.number(
                "reconnects_per_second",
                1000,
                0..=1_000_000,
                "The most clients per second that the node tells to reconnect to the other nodes. It tells \
                 further ones to wait, up to 30 s. 0: no limit.",
            ),
            rebalance_percent: section.number(
                "rebalance_percent",
                0,
                0..=1000,
                "A node that has this percentage more connections than the nodes' average slowly tells its \
                 oldest to reconnect, until it has no more than the average. 0: never.",
            ),
            rebalance_after: section.duration(
                "rebalance_after",
                "60s",
                Duration::from_millis(100)..=hour,
                "How long a node must have had too many, with the same other nodes, before it begins.",
            ),
        }
    }
}

/// The phase of the node. Only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// Not ready, but still accepting, until load balancers notice.
    Leaving,
    /// Accepts nothing, and closes its connections.
    Draining,
}

impl Phase {
    /// The name shown to operators.
    pub fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Leaving => "leaving",
            Self::Draining => "draining",
        }
    }
}

/// The phase, for tasks that wait for it, and the closing of connections. Cheap to clone; all clones share one
/// state.
#[derive(Clone)]
pub struct Drain(Arc<DrainState>);

struct DrainState {
    phase: watch::Sender<Phase>,
    config: Live<Config>,
    /// How long an ending session may wait for the broker.
    leave_timeout: Duration,
    is_shedding: AtomicBool,
}

/// The node is already shedding some connections, or closing all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyShedding;

impl Drain {
    pub fn new(config: Live<Config>, leave_timeout: Duration) -> Self {
        Self(Arc::new(DrainState {
            phase: watch::Sender::new(Phase::Serving),
            config,
            leave_timeout: leave_timeout.min(LEAVE_MAX),
            is_shedding: AtomicBool::new(false),
        }))
    }

    pub fn config(&self) -> Arc<Config> {
        self.0.config.current()
    }

    pub fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    pub fn enter(&self, phase: Phase) {
        self.0.phase.send_if_modified(|now| {
            let forward = phase > *now;
            *now = phase.max(*now);
            telemetry::drain_phase(*now as i64);
            forward
        });
    }

    /// Waits until the node is in `phase` or a later one.
    pub async fn reached(&self, phase: Phase) {
        let mut phases = self.0.phase.subscribe();
        // Cannot fail, because `self` owns the sender.
        let _ = phases.wait_for(|now| *now >= phase).await;
    }

    /// Tells all `connections` to close, in random order, so that they have ended when the period ends.
    /// Returns when all have been told.
    pub async fn close_all(&self, connections: Vec<Arc<Outbound>>, period: Duration) {
        let closes = closes_within(period, self.0.leave_timeout);
        let plan = self.plan(connections.len(), closes);
        let paced = pacer::shuffled(connections);
        pacer::close_paced(paced, plan, |after| Close::Drain { after }, || true).await;
    }

    /// Immediately tells connections to close that have not been told, because they were accepted meanwhile.
    pub async fn close_late(&self, mut connections: Vec<Arc<Outbound>>) {
        connections.retain(|connection| !connection.is_ending());
        let plan = Plan::at_once(connections.len(), self.config().reconnects_per_second);
        let paced = pacer::shuffled(connections);
        pacer::close_paced(paced, plan, |after| Close::Drain { after }, || true).await;
    }

    /// Starts to tell the `count` oldest connections to reconnect elsewhere, spread over `period`, as long as
    /// `should_continue` returns true; the node keeps running.
    ///
    /// Fails with [`AlreadyShedding`] while others are being told.
    pub fn shed(
        &self,
        connections: Vec<Arc<Outbound>>,
        count: usize,
        period: Duration,
        should_continue: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<(), AlreadyShedding> {
        let is_free =
            self.phase() == Phase::Serving && !self.0.is_shedding.swap(true, Ordering::AcqRel);
        if !is_free {
            return Err(AlreadyShedding);
        }
        let shedding = Shedding(self.clone());
        let paced = pacer::oldest(connections, count);
        // The node does not exit after the period, so the closes may use all of it.
        let plan = self.plan(paced.len(), period);
        tokio::spawn(async move {
            let goes_on = || shedding.0.phase() == Phase::Serving && should_continue();
            pacer::close_paced(paced, plan, |after| Close::Rebalance { after }, goes_on).await;
        });
        Ok(())
    }

    /// Whether connections are being shed.
    pub fn is_shedding(&self) -> bool {
        self.0.is_shedding.load(Ordering::Acquire)
    }

    fn plan(&self, connections: usize, closes: Duration) -> Plan {
        Plan::new(connections, closes, self.config().reconnects_per_second)
    }
}

/// Marks the drain as shedding until dropped.
struct Shedding(Drain);

impl Drop for Shedding {
    fn drop(&mut self) {
        self.0.0.is_shedding.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain() -> Drain {
        let config = Config::read(&mut Settings::default());
        Drain::new(Live::new(config), Duration::from_secs(2))
    }

    #[tokio::test]
    async fn drain_phases_only_move_forward() {
        let drain = drain();
        drain.enter(Phase::Draining);
        drain.enter(Phase::Leaving);
        assert_eq!(drain.phase(), Phase::Draining);
        drain.reached(Phase::Leaving).await;
    }

    #[tokio::test(start_paused = true)]
    async fn connections_closed_late_reconnect_below_the_cap() {
        let (drain, connections) = (drain(), pacer::tests::connections(2000));
        connections[0].ask_to_end(Close::Expired);
        drain.close_late(connections.clone()).await;
        let after = |it: &Arc<Outbound>| it.asked_to_end()?.reconnects_after();
        let mut all: Vec<_> = connections.iter().filter_map(after).collect();
        all.sort();
        assert_eq!(all.len(), 1999, "one was leaving already");
        // 2000 at nine tenths of 1000 a second.
        assert!(all[1998] >= Duration::from_secs(2), "all are back within {:?}", all[1998]);
        assert!(all[999] >= Duration::from_secs(1), "half are back within {:?}", all[999]);
    }

    #[tokio::test(start_paused = true)]
    async fn only_one_shedding_runs_at_a_time_and_none_on_a_draining_node() {
        let (drain, connections) = (drain(), pacer::tests::connections(10));
        let shed = || drain.shed(connections.clone(), 4, Duration::from_secs(8), || true);
        assert_eq!(shed(), Ok(()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(shed(), Err(AlreadyShedding));
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!(pacer::tests::asked_to_end(&connections), 4);
        assert_eq!(shed(), Ok(()));
        drain.enter(Phase::Leaving);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(pacer::tests::asked_to_end(&connections) <= 5, "it goes on though the node leaves");
        assert_eq!(shed(), Err(AlreadyShedding));
    }
}
