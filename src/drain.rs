//! Leaving politely: the node's phases, who is told to go when, and how long it is to stay away.

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

/// Longest that a session which was told to go waits for the broker, whatever `broker.publish_timeout` is:
/// a node is gone ten seconds after `drain.delay` and `drain.period` at the latest.
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
                "After SIGTERM or `POST /api/drain` the node is not ready but still serves for so \
                 long, while balancers learn of it. SIGINT skips it.",
            ),
            period: section.duration(
                "period",
                "20s",
                Duration::ZERO..=hour,
                "The closes (1012) are spread over so long, so that the other nodes are not \
                 stormed. At a terminal SIGINT spreads them over less than a second. Add `delay` and leave some seconds more before you kill the process.",
            ),
            reconnects_per_second: section.number(
                "reconnects_per_second",
                1000,
                0..=1_000_000,
                "Most clients a second that are told to come back to the other nodes: those that would \
                 be more are told to wait, up to 30 s. 0: no cap.",
            ),
            rebalance_percent: section.number(
                "rebalance_percent",
                0,
                0..=1000,
                "A node with so many percent more connections than the nodes have on average tells its \
                 oldest to reconnect, slowly, until it has no more than that average. 0: it does \
                 not.",
            ),
            rebalance_after: section.duration(
                "rebalance_after",
                "60s",
                Duration::from_millis(100)..=hour,
                "It must have had too many for so long, beside the same nodes, before it begins.",
            ),
        }
    }
}

/// Where the node is in its life. Only ever goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// Not ready, but still accepting: balancers have not heard of it yet.
    Leaving,
    /// Accepts nothing; connections are being closed.
    Draining,
}

impl Phase {
    /// As operators are told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Leaving => "leaving",
            Self::Draining => "draining",
        }
    }
}

/// The phase, for those who wait on it, and the closing of connections. Cheap to clone; all clones are
/// one.
#[derive(Clone)]
pub struct Drain(Arc<DrainState>);

struct DrainState {
    phase: watch::Sender<Phase>,
    config: Live<Config>,
    /// How long a session that was told to go may wait for the broker.
    leave_timeout: Duration,
    is_shedding: AtomicBool,
}

/// Connections are being shed already, or all of them are.
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

    /// Returns once the node is in `phase` or past it.
    pub async fn reached(&self, phase: Phase) {
        let mut phases = self.0.phase.subscribe();
        // The sender lives in self, so waiting cannot fail.
        let _ = phases.wait_for(|now| *now >= phase).await;
    }

    /// Tells all `connections` to go, in random order, so that they are gone when the period ends.
    /// Returns when all are told.
    pub async fn close_all(&self, connections: Vec<Arc<Outbound>>, period: Duration) {
        let closes = closes_within(period, self.0.leave_timeout);
        let plan = self.plan(connections.len(), closes);
        let told = pacer::shuffled(connections);
        pacer::tell(told, plan, |after| Close::Drain { after }, || true).await;
    }

    /// Tells those of the connections at once that have not been told: they came when the others were.
    pub async fn close_late(&self, mut connections: Vec<Arc<Outbound>>) {
        connections.retain(|connection| !connection.is_ending());
        let plan = Plan::at_once(connections.len(), self.config().reconnects_per_second);
        let told = pacer::shuffled(connections);
        pacer::tell(told, plan, |after| Close::Drain { after }, || true).await;
    }

    /// Begins to tell the `count` oldest of the connections to go, spread over `period`, as long as it
    /// `goes_on`; the node stays.
    ///
    /// Fails with [`AlreadyShedding`] while others are being told.
    pub fn shed(
        &self,
        connections: Vec<Arc<Outbound>>,
        count: usize,
        period: Duration,
        goes_on: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<(), AlreadyShedding> {
        let is_free =
            self.phase() == Phase::Serving && !self.0.is_shedding.swap(true, Ordering::AcqRel);
        if !is_free {
            return Err(AlreadyShedding);
        }
        let shedding = Shedding(self.clone());
        let told = pacer::oldest(connections, count);
        // Nothing ends with the period: all of it may be used.
        let plan = self.plan(told.len(), period);
        tokio::spawn(async move {
            let goes_on = || shedding.0.phase() == Phase::Serving && goes_on();
            pacer::tell(told, plan, |after| Close::Rebalance { after }, goes_on).await;
        });
        Ok(())
    }

    /// Are connections being shed?
    pub fn is_shedding(&self) -> bool {
        self.0.is_shedding.load(Ordering::Acquire)
    }

    fn plan(&self, connections: usize, closes: Duration) -> Plan {
        Plan::new(connections, closes, self.config().reconnects_per_second)
    }
}

/// Some are being told; others may be when it is dropped.
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
    async fn phases_only_go_forward() {
        let drain = drain();
        drain.enter(Phase::Draining);
        drain.enter(Phase::Leaving);
        assert_eq!(drain.phase(), Phase::Draining);
        drain.reached(Phase::Leaving).await;
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_come_late_are_no_herd() {
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
    async fn one_shedding_at_a_time_and_none_by_a_node_that_leaves() {
        let (drain, connections) = (drain(), pacer::tests::connections(10));
        let shed = || drain.shed(connections.clone(), 4, Duration::from_secs(8), || true);
        assert_eq!(shed(), Ok(()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(shed(), Err(AlreadyShedding));
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!(pacer::tests::told(&connections), 4);
        assert_eq!(shed(), Ok(()));
        drain.enter(Phase::Leaving);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(pacer::tests::told(&connections) <= 5, "it goes on though the node leaves");
        assert_eq!(shed(), Err(AlreadyShedding));
    }
}
