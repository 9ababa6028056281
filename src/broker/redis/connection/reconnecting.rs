//! Pauses between attempts to connect to a server. The attempts never stop.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;

/// Each pause is shortened at random by up to half, so that the nodes of a fleet do not reconnect at the same
/// moment.
pub const PAUSE: Backoff =
    Backoff::new(Duration::from_millis(50), Duration::from_secs(1)).with_jitter(0.5);

/// A connection that lasted this long resets the backoff.
const LASTING: Duration = Duration::from_secs(5);

/// The pauses of one task that keeps a connection open.
#[derive(Debug)]
pub struct Reconnecting {
    backoff: Backoff,
    /// When the last connection was made.
    connected_at: Option<Instant>,
}

impl Default for Reconnecting {
    fn default() -> Self {
        Self { backoff: PAUSE, connected_at: None }
    }
}

impl Reconnecting {
    /// Records a new connection. It resets the backoff only after [`LASTING`], so that a server
    /// which accepts and closes at once is not retried without a pause.
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
    async fn reconnect_pauses_grow_to_a_bound_and_reset_after_a_lasting_connection() {
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
