//! Pauses before a server is connected to again, for ever.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;

/// Cut by up to half at random so that the nodes of a fleet do not return in one instant.
pub const PAUSE: Backoff =
    Backoff::new(Duration::from_millis(50), Duration::from_secs(1)).with_jitter(0.5);

/// A connection that lasted so long was a good one.
const LASTING: Duration = Duration::from_secs(5);

/// The pauses of one task that keeps a connection.
#[derive(Debug)]
pub struct Reconnecting {
    backoff: Backoff,
    /// When the connection that was lost had been made.
    connected_at: Option<Instant>,
}

impl Default for Reconnecting {
    fn default() -> Self {
        Self { backoff: PAUSE, connected_at: None }
    }
}

impl Reconnecting {
    /// A connection was made. It counts as good once it has lasted a while; till then a server that
    /// accepts and hangs up at once is not asked again without a pause.
    pub fn connected(&mut self) {
        self.connected_at = Some(Instant::now());
    }

    /// The pause before the next attempt.
    pub fn next_pause(&mut self) -> Duration {
        if self.connected_at.take().is_some_and(|at| at.elapsed() > LASTING) {
            self.backoff.reset();
        }
        self.backoff.next_pause()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_a_bound_and_start_over_after_a_connection_that_lasted() {
        let (first, longest) = (Duration::from_millis(50), Duration::from_secs(1));
        let mut reconnecting = Reconnecting::default();
        let pauses: Vec<_> = (0..20).map(|_| reconnecting.next_pause()).collect();
        assert!(pauses[0] <= first && pauses[0] >= first / 2);
        assert!(pauses[19] <= longest && pauses[19] >= longest / 2);
        reconnecting.connected();
        tokio::time::sleep(LASTING * 2).await;
        assert!(reconnecting.next_pause() <= first);
    }
}
