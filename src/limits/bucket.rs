//! A token bucket: a rate per second, with bursts of one second's worth.

use tokio::time::Instant;

/// The rest of a rate. Twelve bytes of state, and no timer: it refills when it is used.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    filled_at: Instant,
    left: f64,
}

impl Bucket {
    /// A full bucket for this rate.
    pub fn full(per_second: usize, now: Instant) -> Self {
        Self { filled_at: now, left: per_second as f64 }
    }

    /// Takes `amount`; if less is left, takes nothing and returns false. A full bucket allows more than a second's
    /// worth and then has a deficit. `per_second` may change between calls; 0: no limit.
    pub fn take(&mut self, amount: usize, per_second: usize, now: Instant) -> bool {
        self.take_within(amount, per_second, per_second, now)
    }

    /// The same with bursts of `burst` instead of a second's worth.
    pub fn take_within(
        &mut self,
        amount: usize,
        per_second: usize,
        burst: usize,
        now: Instant,
    ) -> bool {
        if per_second == 0 {
            return true;
        }
        let (amount, full) = (amount as f64, burst as f64);
        self.fill(per_second as f64, full, now);
        if self.left < amount.min(full) {
            return false;
        }
        self.left -= amount;
        true
    }

    /// Whether it is full at this rate, as a new bucket is.
    pub fn is_full(&mut self, per_second: usize, now: Instant) -> bool {
        self.fill(per_second as f64, per_second as f64, now);
        self.left >= per_second as f64
    }

    fn fill(&mut self, per_second: f64, full: f64, now: Instant) {
        let seconds = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.filled_at = self.filled_at.max(now);
        self.left = (self.left + seconds * per_second).min(full);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_allows_one_seconds_worth_at_once_and_then_the_rate() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs_f64(seconds);
        let mut bucket = Bucket::full(10, start);
        assert!((0..10).all(|_| bucket.take(1, 10, at(0.))));
        assert!(!bucket.take(1, 10, at(0.05)));
        assert!(bucket.take(1, 10, at(0.11)));
        assert!(!bucket.take(1, 10, at(0.11)));
        assert!(!bucket.is_full(10, at(0.9)) && bucket.is_full(10, at(2.)));
    }

    #[test]
    fn a_burst_may_be_more_than_a_second_s_worth() {
        let start = Instant::now();
        let mut bucket = Bucket::full(30, start);
        assert!((0..30).all(|_| bucket.take_within(1, 10, 30, start)));
        assert!(!bucket.take_within(1, 10, 30, start));
        let later = start + Duration::from_secs(2);
        assert!((0..20).all(|_| bucket.take_within(1, 10, 30, later)));
        assert!(!bucket.take_within(1, 10, 30, later));
    }

    #[test]
    fn an_amount_above_one_seconds_worth_leaves_a_deficit() {
        let start = Instant::now();
        let mut bucket = Bucket::full(10, start);
        assert!(bucket.take(25, 10, start));
        assert!(!bucket.take(1, 10, start + Duration::from_millis(1500)));
        assert!(bucket.take(1, 10, start + Duration::from_millis(1700)));
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let mut bucket = Bucket::full(0, Instant::now());
        assert!((0..1000).all(|_| bucket.take(1 << 40, 0, Instant::now())));
    }
}
