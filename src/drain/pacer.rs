//! Tells connections to close, by a plan.

use std::sync::{Arc, Weak};
use std::time::Duration;

use rand::seq::SliceRandom;
use tokio::time::{Instant, sleep_until};

use super::Plan;
use crate::close::Close;
use crate::outbound::Outbound;

/// The time between waves. Many small waves approximate an even stream.
const WAVE_INTERVAL: Duration = Duration::from_millis(50);

/// Connections in the order of telling. Weak, because this list must not keep an ended connection
/// alive.
pub type PacedConnections = Vec<Weak<Outbound>>;

/// All connections, in random order.
pub fn shuffled(mut connections: Vec<Arc<Outbound>>) -> PacedConnections {
    connections.shuffle(&mut rand::rng());
    connections.iter().map(Arc::downgrade).collect()
}

/// The `count` oldest, oldest first.
pub fn oldest(mut connections: Vec<Arc<Outbound>>, count: usize) -> PacedConnections {
    let age = |connection: &Arc<Outbound>| connection.session().number;
    connections.retain(|connection| !connection.is_ending());
    if count < connections.len() {
        // Sorts only those, because there may be a million connections.
        connections.select_nth_unstable_by_key(count, age);
        connections.truncate(count);
    }
    connections.sort_unstable_by_key(age);
    connections.iter().map(Arc::downgrade).collect()
}

/// Tells each connection to close at its time, as long as `should_continue` returns true. `close`: makes the close from the
/// time the client should stay away.
pub async fn close_paced(
    connections: PacedConnections,
    plan: Plan,
    close: impl Fn(Duration) -> Close,
    should_continue: impl Fn() -> bool,
) {
    let start = Instant::now();
    let mut number = 0;
    for wave in 1.. {
        let elapsed = start.elapsed();
        // Tells a wave ahead of its time, so that no client is told after its slot.
        let due = plan.due(elapsed + WAVE_INTERVAL).min(connections.len());
        for connection in &connections[number..due] {
            if let Some(connection) = connection.upgrade() {
                connection.ask_to_end(close(plan.after(number, elapsed, rand::random())));
            }
            number += 1;
        }
        if number == connections.len() {
            return;
        }
        sleep_until(start + WAVE_INTERVAL * wave).await;
        if !should_continue() {
            return;
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::publication::{NodeId, SessionId};

    pub fn connections(count: u64) -> Vec<Arc<Outbound>> {
        let node = NodeId::random();
        let connection = |number| Arc::new(Outbound::new(SessionId { node, number }, 1));
        (0..count).map(connection).collect()
    }

    pub fn asked_to_end(connections: &[Arc<Outbound>]) -> usize {
        connections.iter().filter(|it| it.asked_to_end().is_some()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn closes_are_spread_evenly_over_the_period() {
        let all = connections(1000);
        let plan = Plan::new(1000, Duration::from_secs(10), 0);
        let close = |after| Close::Drain { after };
        let closing = tokio::spawn(close_paced(shuffled(all.clone()), plan, close, || true));
        tokio::time::sleep(Duration::from_secs(5)).await;
        let half = asked_to_end(&all);
        assert!((450..=550).contains(&half), "{half} of 1000 after half the time");
        closing.await.unwrap();
        assert_eq!(asked_to_end(&all), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_connections_are_the_lowest_numbers_that_are_not_closing() {
        let mut all = connections(100);
        all[3].close(Close::Expired);
        all.shuffle(&mut rand::rng());
        let first = oldest(all.clone(), 5);
        let numbers = first.iter().map(|it| it.upgrade().unwrap().session().number);
        assert_eq!(numbers.collect::<Vec<_>>(), [0, 1, 2, 4, 5]);
        assert_eq!(oldest(all, 500).len(), 99);
    }
}
