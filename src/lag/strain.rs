//! Decides from successive measurements whether the node lags. Plain numbers, no I/O.

use std::time::Duration;

/// How many measurements in a row must exceed the limit before the node lags. A single one is a pause that is
/// already over, such as of a stopped process or a migrated machine.
const LATE_LOOKS: u32 = 3;

/// How many measurements in a row, five seconds of them, must be below half of the limit before the node no longer
/// lags. If readiness alternated, a load balancer would move its clients back and forth.
const CALM_LOOKS: u32 = 50;

/// The recent state of the event loop.
#[derive(Debug, Default)]
pub struct Strain {
    is_lagging: bool,
    late_looks: u32,
    calm_looks: u32,
    peak: Duration,
}

impl Strain {
    /// Adds a measurement. `max`: the limit; zero: none.
    pub fn look(&mut self, lag: Duration, max: Duration) {
        if max.is_zero() {
            *self = Self::default();
            return;
        }
        self.late_looks = if lag > max { self.late_looks.saturating_add(1) } else { 0 };
        if lag < max / 2 {
            self.calm_looks = self.calm_looks.saturating_add(1);
        } else {
            self.calm_looks = 0;
            self.peak = self.peak.max(lag);
        }
        if self.late_looks >= LATE_LOOKS {
            self.is_lagging = true;
        }
        if self.calm_looks >= CALM_LOOKS {
            self.is_lagging = false;
            self.peak = Duration::ZERO;
        }
    }

    pub fn is_lagging(&self) -> bool {
        self.is_lagging
    }

    /// The longest lag since the node was last well below the limit.
    pub fn peak(&self) -> Duration {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_millis(1000);

    /// Whether it lags after each of these measurements, in milliseconds.
    fn looks(strain: &mut Strain, lags: &[u64]) -> Vec<bool> {
        let look = |lag: &u64| {
            strain.look(Duration::from_millis(*lag), MAX);
            strain.is_lagging()
        };
        lags.iter().map(look).collect()
    }

    #[test]
    fn one_pause_is_not_lag_and_a_lasting_delay_is() {
        let mut strain = Strain::default();
        assert_eq!(looks(&mut strain, &[30_000, 0, 1001, 1001, 1000]), [false; 5]);
        assert_eq!(looks(&mut strain, &[1001, 1001, 1001]), [false, false, true]);
        assert_eq!(strain.peak(), Duration::from_secs(30), "since all was well");
    }

    #[test]
    fn lag_ends_only_after_a_while_well_below_the_limit() {
        let mut strain = Strain::default();
        looks(&mut strain, &[2000; 3]);
        let almost = [499; CALM_LOOKS as usize - 1];
        assert!(looks(&mut strain, &almost).iter().all(|lags| *lags));
        assert_eq!(looks(&mut strain, &[500]), [true], "half of the limit begins it anew");
        assert!(looks(&mut strain, &almost).iter().all(|lags| *lags));
        assert_eq!(looks(&mut strain, &[499, 999]), [false, false]);
    }

    #[test]
    fn without_a_limit_nothing_lags() {
        let mut strain = Strain::default();
        looks(&mut strain, &[2000; 3]);
        assert!(strain.is_lagging());
        strain.look(Duration::MAX, Duration::ZERO);
        assert!(!strain.is_lagging() && strain.peak().is_zero());
        assert_eq!(looks(&mut strain, &[2000; 2]), [false; 2], "nor is anything kept of before");
    }
}
