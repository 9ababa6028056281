//! Leaving politely: serving, draining, stopped; and how the closes are spread.

use std::sync::{Arc, Weak};
use std::time::Duration;

use rand::seq::SliceRandom;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::close::Close;
use crate::outbound::Outbound;
use crate::settings::Settings;

/// The `[drain]` section.
#[derive(Clone, Debug)]
pub struct Config {
    pub delay: Duration,
    pub period: Duration,
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
                "After SIGTERM the node is not ready but still serves for so long, while balancers \
                 learn of it. SIGINT, from somebody at a keyboard, skips it.",
            ),
            period: section.duration(
                "period",
                "20s",
                Duration::ZERO..=hour,
                "The closes (1012) are spread over so long, so that the other nodes are not \
                 stormed. Add `delay` and leave some seconds more before you kill the process.",
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

/// The phase, for those who wait on it.
#[derive(Clone, Debug)]
pub struct Drain(Arc<watch::Sender<Phase>>);

impl Default for Drain {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Serving)))
    }
}

impl Drain {
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    pub fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let forward = phase > *now;
            *now = phase.max(*now);
            forward
        });
    }

    /// Returns once the node is in `phase` or past it.
    pub async fn reached(&self, phase: Phase) {
        let mut phases = self.0.subscribe();
        // The sender lives in self, so waiting cannot fail.
        let _ = phases.wait_for(|now| *now >= phase).await;
    }
}

/// How often the closes go out: many small waves look like an even stream.
const WAVE_INTERVAL: Duration = Duration::from_millis(50);

/// Closes all `connections` in random order, evenly over `period`.
pub async fn close_spread(mut connections: Vec<Arc<Outbound>>, period: Duration) {
    connections.shuffle(&mut rand::rng());
    // A connection that ends meanwhile must not be kept half open by this list.
    let connections: Vec<_> = connections.iter().map(Arc::downgrade).collect();
    let waves = (period.as_millis() / WAVE_INTERVAL.as_millis()).max(1) as usize;
    let start = Instant::now();
    let total = connections.len();
    let mut closed = 0;
    for wave in 0..waves {
        // The first goes at once: whoever stops a node with one client need not wait.
        let due = (total * (wave + 1)).div_ceil(waves);
        for connection in connections[closed..due].iter().filter_map(Weak::upgrade) {
            connection.close(Close::Drain);
        }
        closed = due;
        if closed == total {
            return;
        }
        sleep_until(start + WAVE_INTERVAL * (wave + 1) as u32).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::{NodeId, SessionId};

    #[tokio::test(start_paused = true)]
    async fn closes_are_spread_evenly_over_the_period() {
        let session = SessionId { node: NodeId::random(), number: 1 };
        let all: Vec<_> = (0..1000).map(|_| Arc::new(Outbound::new(session, 1))).collect();
        let closed = |all: &[Arc<Outbound>]| all.iter().filter(|o| o.closing().is_some()).count();
        let spreading = tokio::spawn(close_spread(all.clone(), Duration::from_secs(10)));
        tokio::time::sleep(Duration::from_secs(5)).await;
        let half = closed(&all);
        assert!((450..=550).contains(&half), "{half} of 1000 after half the period");
        spreading.await.unwrap();
        assert_eq!(closed(&all), 1000);
    }

    #[tokio::test]
    async fn phases_only_go_forward() {
        let drain = Drain::default();
        drain.enter(Phase::Draining);
        drain.enter(Phase::Leaving);
        assert_eq!(drain.phase(), Phase::Draining);
        drain.reached(Phase::Leaving).await;
    }
}
