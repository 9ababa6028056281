//! Pauses between attempts that fail. Plain numbers, no I/O.

use std::time::Duration;

/// Pauses that double from `base` to `max` with each failure in a row, each shortened by a random share of up to
/// `jitter`, so that the nodes of a fleet do not retry simultaneously.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    jitter: f64,
    failures: u32,
}

impl Backoff {
    /// Without jitter.
    pub const fn new(base: Duration, max: Duration) -> Self {
        Self { base, max, jitter: 0., failures: 0 }
    }

    /// `jitter`: between 0 and 1. At 0.5 a pause of one second becomes one of 0.5 to 1 second.
    pub const fn with_jitter(self, jitter: f64) -> Self {
        Self { jitter, ..self }
    }

    /// Failures in a row so far.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a failure and returns the pause before the next attempt: `base` after the first.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.pause_after(self.failures);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// An attempt succeeded: the next failure is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause after `doublings` earlier failures, for callers that keep the count themselves.
    pub fn pause_after(&self, doublings: u32) -> Duration {
        let doubled = self.base.saturating_mul(2u32.saturating_pow(doublings));
        jittered(doubled.min(self.max), self.jitter)
    }
}

/// `time`, shortened by a random share of up to `jitter`.
pub fn jittered(time: Duration, jitter: f64) -> Duration {
    time.mul_f64(rand::random_range(1. - jitter..=1.))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_up_to_the_maximum_and_start_over_after_a_reset() {
        let mut backoff = Backoff::new(SECOND, 60 * SECOND);
        let pauses: Vec<_> = (0..8).map(|_| backoff.next_pause().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.failures(), 8);
        backoff.reset();
        assert_eq!(backoff.failures(), 0);
        assert_eq!(backoff.next_pause(), SECOND);
    }

    #[test]
    fn any_number_of_failures_has_a_pause() {
        let backoff = Backoff::new(100 * SECOND, 1000 * SECOND);
        assert_eq!(backoff.pause_after(0), 100 * SECOND);
        assert_eq!(backoff.pause_after(31), 1000 * SECOND);
        assert_eq!(backoff.pause_after(u32::MAX), 1000 * SECOND);
    }

    #[test]
    fn jitter_shortens_a_pause_by_at_most_its_share() {
        let backoff = Backoff::new(SECOND, 4 * SECOND).with_jitter(0.5);
        for _ in 0..100 {
            let pause = backoff.pause_after(2);
            assert!((2 * SECOND..=4 * SECOND).contains(&pause), "{pause:?}");
        }
    }
}
