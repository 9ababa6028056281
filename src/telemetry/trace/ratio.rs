//! A share of events, chosen at random.

use std::sync::atomic::{AtomicU64, Ordering};

/// A share, as the exclusive upper bound of the random numbers that hit.
#[derive(Default)]
pub struct Ratio(AtomicU64);

impl Ratio {
    pub fn set(&self, ratio: f64) {
        // The cast saturates: 1.0 is the largest number.
        self.0.store((ratio * 2f64.powi(64)) as u64, Ordering::Relaxed);
    }

    pub fn hits(&self) -> bool {
        match self.0.load(Ordering::Relaxed) {
            0 => false,
            u64::MAX => true,
            highest => rand::random::<u64>() < highest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_hits_its_share_of_draws() {
        let ratio = Ratio::default();
        let hits = |part| {
            ratio.set(part);
            (0..10_000).filter(|_| ratio.hits()).count()
        };
        assert_eq!((hits(0.), hits(1.)), (0, 10_000));
        // Twelve standard deviations to each side.
        assert!((1900..=3100).contains(&hits(0.25)));
    }
}
