//! The time windows of the traffic counters: the current one and the complete one before it.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(30);

/// Numbers the windows, equally for all shards.
#[derive(Debug)]
pub struct Windows(Instant);

impl Default for Windows {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Windows {
    pub fn number(&self, now: Instant) -> u64 {
        now.duration_since(self.0).as_secs() / WINDOW.as_secs()
    }

    /// How long the current and the previous window have lasted so far.
    pub fn covered(&self, now: Instant) -> Duration {
        let since_start = now.duration_since(self.0);
        let before = self.number(now).saturating_sub(1).saturating_mul(WINDOW.as_secs());
        since_start.saturating_sub(Duration::from_secs(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_covered_time_grows_to_two_windows_and_falls_back_to_one() {
        let windows = Windows::default();
        let at = |seconds| windows.0 + Duration::from_secs(seconds);
        for (seconds, number, covered) in
            [(0, 0, 0), (29, 0, 29), (30, 1, 30), (59, 1, 59), (60, 2, 30), (100, 3, 40)]
        {
            assert_eq!(windows.number(at(seconds)), number);
            assert_eq!(windows.covered(at(seconds)), Duration::from_secs(covered));
        }
    }
}
