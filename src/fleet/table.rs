//! The other nodes, by their announcements. Plain data.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::{Announcement, NodeStage};
use crate::publication::NodeId;

/// The most nodes in the table. Further nodes are ignored.
pub const NODES_MAX: usize = 1024;

/// The most connections accepted in a node's announcement.
pub const CONNECTIONS_MAX: u64 = 10_000_000;

/// The other nodes.
#[derive(Debug, Default)]
pub struct PeerTable(HashMap<NodeId, PeerNode>);

#[derive(Debug)]
struct PeerNode {
    stays: bool,
    connections: u64,
    holds_until: Instant,
    rules: Option<u64>,
    /// Since when its rules have differed from this node's, without interruption.
    differs_since: Option<Instant>,
}

impl PeerTable {
    /// `holds_max`: the limit for how long the announcement is valid.
    pub fn record(&mut self, announcement: Announcement, holds_max: Duration, now: Instant) {
        let Announcement { node, stage, connections, holds_ms, rules } = announcement;
        if stage == NodeStage::Gone {
            self.0.remove(&node);
        } else if self.0.len() < NODES_MAX || self.0.contains_key(&node) {
            let holds_until = now + Duration::from_millis(holds_ms).min(holds_max);
            let stays = stage == NodeStage::Serving;
            let connections = connections.min(CONNECTIONS_MAX);
            let differs_since = self.0.get(&node).and_then(|known| known.differs_since);
            let peer = PeerNode { stays, connections, holds_until, rules, differs_since };
            self.0.insert(node, peer);
        }
    }

    /// Removes nodes whose announcement has expired.
    pub fn remove_expired(&mut self, now: Instant) {
        self.0.retain(|_, node| node.holds_until > now);
    }

    /// The nodes whose rules have differed from `own` for at least `lasting`, sorted by name.
    pub fn with_other_rules(&mut self, own: u64, lasting: Duration, now: Instant) -> Vec<NodeId> {
        let mut others = Vec::new();
        for (id, node) in &mut self.0 {
            if node.rules.is_none_or(|rules| rules == own) {
                node.differs_since = None;
            } else if now.duration_since(*node.differs_since.get_or_insert(now)) >= lasting {
                others.push(*id);
            }
        }
        others.sort_unstable();
        others
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The connections of all nodes, including those that drain.
    pub fn connections(&self) -> u64 {
        self.0.values().fold(0, |sum, node| sum.saturating_add(node.connections))
    }

    /// The nodes that do not drain, with their connections, sorted by name.
    pub fn serving(&self) -> Vec<(NodeId, u64)> {
        let serving = self.0.iter().filter(|(_, node)| node.stays);
        let mut all: Vec<_> = serving.map(|(id, node)| (*id, node.connections)).collect();
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLDS_MAX: Duration = Duration::from_secs(16);

    fn announcement(node: NodeId, stage: NodeStage, connections: u64) -> Announcement {
        Announcement { node, stage, connections, holds_ms: 7000, rules: None }
    }

    #[test]
    fn nodes_are_known_until_they_exit_or_their_announcement_expires() {
        let (mut table, start) = (PeerTable::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let [a, b, c] = [(); 3].map(|()| NodeId::random());
        table.record(announcement(a, NodeStage::Serving, 10), HOLDS_MAX, at(0));
        table.record(announcement(b, NodeStage::Serving, 20), HOLDS_MAX, at(0));
        table.record(announcement(c, NodeStage::Leaving, 5), HOLDS_MAX, at(0));
        assert_eq!((table.len(), table.connections(), table.serving().len()), (3, 35, 2));
        table.record(announcement(a, NodeStage::Serving, 12), HOLDS_MAX, at(5));
        table.record(announcement(b, NodeStage::Gone, 0), HOLDS_MAX, at(5));
        assert_eq!((table.len(), table.serving()), (2, vec![(a, 12)]));
        table.remove_expired(at(8));
        assert_eq!((table.len(), table.connections()), (1, 12));
        table.remove_expired(at(12));
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn nodes_with_other_rules_are_reported_only_if_that_lasts() {
        let (mut table, start) = (PeerTable::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let lasting = Duration::from_secs(30);
        let [same, old, other] = [(); 3].map(|()| NodeId::random());
        let mut say = |other_rules, seconds| {
            for (node, rules) in [(same, Some(1)), (old, None), (other, Some(other_rules))] {
                let said = Announcement { rules, ..announcement(node, NodeStage::Serving, 1) };
                table.record(said, HOLDS_MAX, at(seconds));
            }
            table.with_other_rules(1, lasting, at(seconds))
        };
        assert_eq!(say(2, 0), []);
        assert_eq!(say(2, 29), [], "so it is while a fleet is given new rules");
        assert_eq!(say(3, 30), [other]);
        assert_eq!(say(1, 31), []);
        assert_eq!(say(2, 32), [], "it begins anew");
        assert_eq!(say(2, 62), [other]);
    }

    #[test]
    fn announcements_cannot_exceed_the_tables_limits() {
        let (mut table, now) = (PeerTable::default(), Instant::now());
        let first = NodeId::random();
        let for_ever = |connections| Announcement {
            holds_ms: u64::MAX,
            ..announcement(first, NodeStage::Serving, connections)
        };
        table.record(for_ever(u64::MAX), HOLDS_MAX, now);
        assert_eq!(table.connections(), CONNECTIONS_MAX);
        for _ in 0..2 * NODES_MAX {
            table.record(
                announcement(NodeId::random(), NodeStage::Serving, u64::MAX),
                HOLDS_MAX,
                now,
            );
        }
        table.record(announcement(first, NodeStage::Serving, 7), HOLDS_MAX, now);
        let others = (NODES_MAX as u64 - 1) * CONNECTIONS_MAX;
        assert_eq!((table.len(), table.connections()), (NODES_MAX, others + 7));
        assert!(table.serving().contains(&(first, 7)), "those that are known go on being heard");
        table.record(for_ever(0), HOLDS_MAX, now);
        table.remove_expired(now + HOLDS_MAX);
        assert_eq!(table.len(), 0);
    }
}
