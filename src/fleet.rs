//! The fleet as this node knows it: how many nodes there are, how many connections each has, and
//! whether this one has more than its share.

mod balance;
mod shedding_backoff;
mod table;

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use self::balance::{Balance, SheddingStep};
pub use self::table::NODES_MAX;
use self::table::PeerTable;
use crate::backoff::{Backoff, jittered};
use crate::broker::{Announcement, NodeStage};
use crate::drain::{Drain, Phase};
use crate::hub::Hub;
use crate::publication::NodeId;
use crate::{critical_tasks, telemetry};

/// How often a node announces its number of connections to the others.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);

/// The largest share by which an interval is shortened at random, so that nodes do not announce simultaneously.
const JITTER: f64 = 0.5;

/// The most announcements per second of all nodes together, because each is sent to all nodes: if there are more
/// nodes than this allows, each announces less often.
const ANNOUNCEMENTS_PER_SECOND: usize = 20;

/// How often the pause is doubled while the broker refuses announcements, for example for a missing permission.
const DOUBLINGS_MAX: u32 = 3;
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(16);

/// For how many intervals an announcement is valid.
const VALID_INTERVALS: u32 = 4;

/// The limit for other nodes' announcements, in this node's intervals. More, because they may know more nodes.
const VALID_MAX_INTERVALS: u32 = 2 * VALID_INTERVALS;

/// How long the last announcement of a node that exits may take.
const LAST_ANNOUNCEMENT_TIMEOUT: Duration = Duration::from_millis(500);

/// How long another node's rules may differ before that is reported: longer than a fleet needs to load new
/// ones.
const MISMATCH_LASTS: Duration = Duration::from_secs(30);

/// The most nodes that a log line names.
const NAMED_MAX: usize = 20;

/// How often the node compares itself with the others.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The fleet as this node knows it. Cheap to clone; all clones share one state.
#[derive(Clone)]
pub struct Fleet(Arc<FleetState>);

struct FleetState {
    node: NodeId,
    others: Mutex<PeerTable>,
    /// The version of this node's own rules, as received back from the broker. 0: not received yet.
    rules: AtomicU64,
}

impl Fleet {
    pub fn new(node: NodeId) -> Self {
        Self(Arc::new(FleetState { node, others: Mutex::default(), rules: AtomicU64::new(0) }))
    }

    /// An announcement was received.
    pub fn receive(&self, announcement: Announcement) {
        if announcement.node == self.0.node {
            self.0.rules.store(announcement.rules.unwrap_or(0), Ordering::Relaxed);
        } else {
            let mut others = self.others();
            let holds_max = interval_among(others.len() + 1) * VALID_MAX_INTERVALS;
            others.record(announcement, holds_max, Instant::now());
        }
    }

    /// Announces this node to the others and sheds surplus connections, for ever, on the current runtime.
    /// `takes_more`: whether the node would accept a new client.
    pub fn start(
        &self,
        hub: Hub,
        drain: Drain,
        takes_more: impl Fn() -> bool + Send + Sync + 'static,
    ) {
        let speaking = self.clone().announce_periodically(hub.clone(), drain.clone(), takes_more);
        critical_tasks::spawn("fleet", async { match speaking.await {} });
        let looking = self.clone().check_periodically(hub, drain);
        critical_tasks::spawn("fleet", async { match looking.await {} });
    }

    /// Announces that this node exits, so that the others need not wait until its last announcement expires.
    pub async fn leave(&self, hub: &Hub) {
        let announcement = self.announcement(hub, NodeStage::Gone, Duration::ZERO);
        // Without it, the announcement expires.
        let _ = timeout(LAST_ANNOUNCEMENT_TIMEOUT, hub.broker().announce(announcement)).await;
    }

    async fn announce_periodically(
        self,
        hub: Hub,
        drain: Drain,
        takes_more: impl Fn() -> bool + Send + Sync,
    ) -> Infallible {
        let mut failures = 0;
        loop {
            let every = interval_among(self.others().len() + 1);
            let leaves = drain.phase() != Phase::Serving;
            // A node that gets no new clients must not count among those with too few.
            let stage =
                if leaves || !takes_more() { NodeStage::Leaving } else { NodeStage::Serving };
            let announcement = self.announcement(&hub, stage, every * VALID_INTERVALS);
            // Outages of the broker are reported elsewhere; meanwhile this node's announcements expire.
            failures = match hub.broker().announce(announcement).await {
                Ok(()) => 0,
                Err(_) => (failures + 1).min(DOUBLINGS_MAX),
            };
            let pauses = Backoff::new(jittered(every, JITTER), every.max(REFUSED_PAUSE_MAX));
            tokio::select! {
                () = sleep(pauses.pause_after(failures)) => {}
                () = drain.reached(Phase::Leaving), if !leaves => {}
            }
        }
    }

    async fn check_periodically(self, hub: Hub, drain: Drain) -> Infallible {
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut balance = Balance::default();
        let mut other_rules = Vec::new();
        loop {
            checks.tick().await;
            let (own, now) = (hub.registry().connection_count(), Instant::now());
            let others = {
                let mut others = self.others();
                others.remove_expired(now);
                telemetry::fleet(others.len() + 1, others.connections().saturating_add(own as u64));
                let rules = self.0.rules.load(Ordering::Relaxed);
                if rules != 0 {
                    let differ = others.with_other_rules(rules, MISMATCH_LASTS, now);
                    report_other_rules(&mut other_rules, differ);
                }
                others.serving()
            };
            if drain.phase() != Phase::Serving || drain.is_shedding() {
                // Clients are being moved, so their numbers count only afterwards.
                balance.restart_wait();
            } else if let Some(step) = balance.step(own, &others, &drain.config(), now) {
                shed(step, &hub, &drain);
            }
        }
    }

    fn announcement(&self, hub: &Hub, stage: NodeStage, holds: Duration) -> Announcement {
        Announcement {
            node: self.0.node,
            stage,
            connections: hub.registry().connection_count() as u64,
            holds_ms: holds.as_millis() as u64,
            // The broker adds them.
            rules: None,
        }
    }

    fn others(&self) -> MutexGuard<'_, PeerTable> {
        self.0.others.lock().expect("no code panics while it holds the fleet's lock")
    }
}

/// `known`: the nodes reported last.
fn report_other_rules(known: &mut Vec<NodeId>, now: Vec<NodeId>) {
    telemetry::nodes_with_other_rules(now.len());
    if now.iter().any(|node| !known.contains(node)) {
        let named = now.iter().take(NAMED_MAX).map(NodeId::to_string);
        telemetry::rules_differ_between_nodes(&named.collect::<Vec<_>>().join(", "));
    } else if now.is_empty() && !known.is_empty() {
        telemetry::rules_agree_again("nodes");
    }
    *known = now;
}

/// How often each of this many nodes announces itself.
fn interval_among(nodes: usize) -> Duration {
    ANNOUNCE_INTERVAL.max(Duration::from_secs(1) * nodes as u32 / ANNOUNCEMENTS_PER_SECOND as u32)
}

fn shed(step: SheddingStep, hub: &Hub, drain: &Drain) {
    let SheddingStep { count, within, keep } = step;
    let counted = hub.clone();
    // Other connections end by themselves meanwhile.
    let has_too_many = move || counted.registry().connection_count() > keep;
    // Fails if an operator has just started to shed some; the next look tries again.
    if drain.shed(hub.registry().connections(), count, within, has_too_many).is_ok() {
        telemetry::shedding("drain.rebalance_percent", count, within);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_large_fleets_announce_less_often() {
        assert_eq!(interval_among(1), ANNOUNCE_INTERVAL);
        assert_eq!(interval_among(40), ANNOUNCE_INTERVAL);
        assert_eq!(interval_among(1000), Duration::from_secs(50));
    }

    #[test]
    fn a_nodes_own_announcement_is_not_counted_as_another_node() {
        let node = NodeId::random();
        let fleet = Fleet::new(node);
        let announcement = Announcement {
            node,
            stage: NodeStage::Serving,
            connections: 5,
            holds_ms: 1000,
            rules: None,
        };
        fleet.receive(announcement);
        assert_eq!(fleet.others().len(), 0);
        fleet.receive(Announcement { node: NodeId::random(), ..announcement });
        assert_eq!(fleet.others().len(), 1);
    }
}
