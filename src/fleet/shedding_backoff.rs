//! What slows the shedding down where it moves nobody. Plain numbers, no I/O.
//!
//! Who is told to reconnect may come back to where it was, or push out those who are elsewhere: a balancer
//! that sticks to its choice, or nodes that shed each other's clients.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::publication::NodeId;

/// How often the wait is doubled: at most, a step follows the last one after 32 times as long as the first.
const DOUBLINGS_MAX: u32 = 5;

/// Of what a step sheds, the part by which the others must have grown for it to have been worth it:
/// between two nodes half comes back, where turns are taken.
const MOVED_DIVISOR: u64 = 4;

/// The brake: of how many steps in a row nobody came to the other nodes.
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
    /// What the others had before it.
    elsewhere: u64,
    count: u64,
    /// It has been found out whether it was worth it.
    is_judged: bool,
}

impl SheddingBackoff {
    /// How long the node must have had too many before the next step; `after` when nothing brakes.
    pub fn wait(&mut self, others: &[(NodeId, u64)], after: Duration, now: Instant) -> Duration {
        let longest = after * 2u32.pow(DOUBLINGS_MAX);
        let counts = |tried: &LastStep| {
            let is_known = |node: &NodeId| tried.nodes.contains(node);
            // Where a node came, there is room; and what was long ago says nothing of today.
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

    /// So many are to be shed now.
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
    fn it_waits_twice_as_long_after_each_step_that_moved_nobody_up_to_a_bound() {
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
    fn a_node_that_came_and_a_long_time_release_it() {
        let start = Instant::now();
        let others = [(NodeId::random(), 100)];
        let braked = || {
            let mut brake = SheddingBackoff::default();
            brake.tried(&others, 40, start);
            assert_eq!(brake.wait(&others, AFTER, start), 2 * AFTER);
            brake
        };
        let more = [others[0], (NodeId::random(), 0)];
        assert_eq!(braked().wait(&more, AFTER, start), AFTER);
        assert_eq!(braked().wait(&[], AFTER, start), 2 * AFTER, "one that went makes no room");
        assert_eq!(braked().wait(&others, AFTER, start + 65 * AFTER), AFTER);
    }
}
