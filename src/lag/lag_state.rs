//! Decides from successive measurements whether the node lags. Plain numbers, no I/O.

use std::time::Duration;

/// How many measurements in a row must exceed the limit before the node lags. A single one is a pause that is
/// already over, such as of a stopped process or a migrated machine.
const LATE_SAMPLES: u32 = 3;

/// How many measurements in a row, five seconds of them, must be below half of the limit before the node no longer
/// lags. If readiness alternated, a load balancer would move its clients back and forth.
const CALM_SAMPLES: u32 = 50;

/// The recent state of the event loop.
#[derive(Debug, Default)]
pub struct LagState {
    is_lagging: bool,
    late_samples: u32,
    calm_samples: u32,
    peak: Duration,
}

impl LagState {
    /// Adds a measurement. `max`: the limit; zero: none.
    pub fn add(&mut self, lag: Duration, max: Duration) {
        if max.is_zero() {
            *self = Self::default();
            return;
        }
        self.late_samples = if lag > max { self.late_samples.saturating_add(1) } else { 0 };
        if lag < max / 2 {
            self.calm_samples = self.calm_samples.saturating_add(1);
        } else {
            self.calm_samples = 0;
            self.peak = self.peak.max(lag);
        }
        if self.late_samples >= LATE_SAMPLES {
            self.is_lagging = true;
        }
        if self.calm_samples >= CALM_SAMPLES {
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
    fn is_lagging_after(state: &mut LagState, lags: &[u64]) -> Vec<bool> {
        let look = |lag: &u64| {
            state.add(Duration::from_millis(*lag), MAX);
            state.is_lagging()
        };
        lags.iter().map(look).collect()
    }

    #[test]
    fn one_pause_is_not_lag_and_a_lasting_delay_is() {
        let mut state = LagState::default();
        assert_eq!(is_lagging_after(&mut state, &[30_000, 0, 1001, 1001, 1000]), [false; 5]);
        assert_eq!(is_lagging_after(&mut state, &[1001, 1001, 1001]), [false, false, true]);
        assert_eq!(state.peak(), Duration::from_secs(30), "since all was well");
    }

    #[test]
    fn lag_ends_only_after_a_while_well_below_the_limit() {
        let mut state = LagState::default();
        is_lagging_after(&mut state, &[2000; 3]);
        let almost = [499; CALM_SAMPLES as usize - 1];
        assert!(is_lagging_after(&mut state, &almost).iter().all(|lags| *lags));
        assert_eq!(
            is_lagging_after(&mut state, &[500]),
            [true],
            "half of the limit begins it anew"
        );
        assert!(is_lagging_after(&mut state, &almost).iter().all(|lags| *lags));
        assert_eq!(is_lagging_after(&mut state, &[499, 999]), [false, false]);
    }

    #[test]
    fn without_a_limit_nothing_lags() {
        let mut state = LagState::default();
        is_lagging_after(&mut state, &[2000; 3]);
        assert!(state.is_lagging());
        state.add(Duration::MAX, Duration::ZERO);
        assert!(!state.is_lagging() && state.peak().is_zero());
        assert_eq!(
            is_lagging_after(&mut state, &[2000; 2]),
            [false; 2],
            "nor is anything kept of before"
        );
    }
}
