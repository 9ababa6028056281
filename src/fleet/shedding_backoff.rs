//! Slows shedding down if it does not move clients to other nodes. Plain numbers, no I/O.
//!
//! Clients that are told to reconnect may return to this node, or displace clients of others: with a balancer that
//! repeats its choice, or nodes that shed each other's clients.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::publication::NodeId;

/// How often the wait is doubled: at most to 32 times the first.
const DOUBLINGS_MAX: u32 = 5;

/// A step was useful if the other nodes grew by at least this fraction of what it shed. With two nodes and a
/// round-robin balancer, half returns.
const MOVED_DIVISOR: u64 = 4;

/// Counts the steps in a row that moved no clients.
#[derive(Debug, Default)]
pub struct SheddingBackoff {
    last: Option<LastStep>,
    doublings: u32,
}

/// The last step.
#[derive(Debug)]
struct LastStep {
    at: Instant,
    nodes: Vec<NodeId>,
    /// The connections of the others before it.
    elsewhere: u64,
    count: u64,
    /// Whether it has been judged useful or not.
    is_judged: bool,
}

impl SheddingBackoff {
    /// How long the node must have had too many before the next step; `after` if all steps were useful.
    pub fn wait(&mut self, others: &[(NodeId, u64)], after: Duration, now: Instant) -> Duration {
        let longest = after * 2u32.pow(DOUBLINGS_MAX);
        let counts = |tried: &LastStep| {
            let is_known = |node: &NodeId| tried.nodes.contains(node);
            // A new node has room, and a step long ago shows nothing about now.
            others.iter().all(|(node, _)| is_known(node)) && now - tried.at <= 2 * longest
        };
        match self.last.as_mut().filter(|tried| counts(tried)) {
            None => *self = Self::default(),
            Some(tried) if !tried.is_judged => {
                tried.is_judged = true;
                let moved = sum(others).saturating_sub(tried.elsewhere);
                self.doublings = match moved < tried.count.div_ceil(MOVED_DIVISOR) {
                    true => (self.doublings + 1).min(DOUBLINGS_MAX),
                    false => 0,
                };
            }
            Some(_) => {}
        }
        Backoff::new(after, longest).pause_after(self.doublings)
    }

    /// Records a step that sheds `count` connections.
    pub fn tried(&mut self, others: &[(NodeId, u64)], count: usize, now: Instant) {
        let nodes = others.iter().map(|(node, _)| *node).collect();
        let (elsewhere, count) = (sum(others), count as u64);
        self.last = Some(LastStep { at: now, nodes, elsewhere, count, is_judged: false });
    }
}

fn sum(others: &[(NodeId, u64)]) -> u64 {
    others.iter().fold(0, |sum, (_, connections)| sum.saturating_add(*connections))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(60);

    #[test]
    fn the_wait_doubles_after_each_step_that_moved_no_client_up_to_a_limit() {
        let (mut brake, mut now) = (SheddingBackoff::default(), Instant::now());
        let others = [(NodeId::random(), 100)];
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = brake.wait(&others, AFTER, now);
            assert_eq!(brake.wait(&others, AFTER, now), wait, "one step is judged once");
            waits.push(wait.as_secs() / AFTER.as_secs());
            now += wait;
            brake.tried(&others, 40, now);
            now += Duration::from_secs(4);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 32, 32]);
        assert_eq!(brake.wait(&[(others[0].0, 110)], AFTER, now), AFTER, "these have come");
    }

    #[test]
    fn a_new_node_or_a_long_time_resets_the_shedding_backoff() {
        let start = Instant::now();
        let others = [(NodeId::random(), 100)];
        let braked = || {
            let mut backoff = SheddingBackoff::default();
            backoff.tried(&others, 40, start);
            assert_eq!(backoff.wait(&others, AFTER, start), 2 * AFTER);
            backoff
        };
        let more = [others[0], (NodeId::random(), 0)];
        assert_eq!(braked().wait(&more, AFTER, start), AFTER);
        assert_eq!(braked().wait(&[], AFTER, start), 2 * AFTER, "one that went makes no room");
        assert_eq!(braked().wait(&others, AFTER, start + 65 * AFTER), AFTER);
    }
}
