//! Exponential backoff for reconnects and retries.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// The next pause: up to twice as long as the one before, at random.
    pub fn next(&mut self, random: &mut StdRng) -> Duration {
        let longest = self.0;
        self.0 = (longest * 2).min(LONGEST);
        random.random_range(longest / 4..=longest)
    }

    pub fn reset(&mut self) {
        self.0 = FIRST;
    }
}
