//! Detects steps of the wall clock. Tokens expire by the wall clock, and sessions wait for that by the monotonic clock,
//! which never steps: after a step, the caller must compute those deadlines again.
//!
//! A node may start with a wrong clock before the time service does, and a suspended virtual machine resumes with its
//! clock behind, or set forward.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::time::{MissedTickBehavior, interval};

use crate::{critical_tasks, telemetry};

/// How often the clocks are compared, and so the longest delay until a step is noticed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A smaller difference since the last step is the work of a time service.
const STEP_MIN: Duration = Duration::from_millis(500);

/// Compares the clocks for ever. Calls `stepped` at each step, and again at the next look, because a deadline computed
/// during the first call may be based on the old time.
pub fn watch(stepped: impl Fn() + Send + 'static) {
    let mut steps = Steps::new(ClockSample::now());
    critical_tasks::spawn("wall clock", async move {
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut once_more = false;
        loop {
            look.tick().await;
            let step = steps.detect(ClockSample::now());
            if let Some(by) = step {
                telemetry::clock_stepped(by);
            }
            if step.is_some() || once_more {
                stepped();
            }
            once_more = step.is_some();
        }
    });
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct ClockSample {
    monotonic: Instant,
    wall: SystemTime,
}

impl ClockSample {
    fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// Milliseconds by which the wall clock advanced more than the monotonic one since `before`.
    fn ahead_of(self, before: Self) -> i64 {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let wall = |it: Self| millis(it.wall.duration_since(UNIX_EPOCH).unwrap_or_default());
        let passed = millis(self.monotonic.saturating_duration_since(before.monotonic));
        wall(self).saturating_sub(wall(before)).saturating_sub(passed)
    }
}

/// The difference between the clocks since the last step.
#[derive(Debug)]
struct Steps {
    since: ClockSample,
}

impl Steps {
    fn new(since: ClockSample) -> Self {
        Self { since }
    }

    /// By how many milliseconds the wall clock stepped. None: it did not.
    fn detect(&mut self, now: ClockSample) -> Option<i64> {
        let by = now.ahead_of(self.since);
        (by.unsigned_abs() >= STEP_MIN.as_millis() as u64).then(|| {
            self.since = now;
            by
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Advances each clock by this much.
    fn after(reading: ClockSample, monotonic: Duration, wall: i64) -> ClockSample {
        let step = Duration::from_millis(wall.unsigned_abs());
        let wall = if wall < 0 { reading.wall - step } else { reading.wall + step };
        ClockSample { monotonic: reading.monotonic + monotonic, wall }
    }

    #[test]
    fn a_step_of_the_wall_clock_is_reported_once_in_either_direction() {
        let start = ClockSample::now();
        let mut steps = Steps::new(start);
        let later = after(start, SECOND, 1000);
        assert_eq!(steps.detect(later), None);
        let forward = after(later, SECOND, 3_601_000);
        assert_eq!(steps.detect(forward), Some(3_600_000));
        let on = after(forward, SECOND, 1000);
        assert_eq!(steps.detect(on), None);
        assert_eq!(steps.detect(after(on, SECOND, -7_199_000)), Some(-7_200_000));
    }

    #[test]
    fn a_suspension_is_a_step_and_small_differences_add_up() {
        let start = ClockSample::now();
        let mut steps = Steps::new(start);
        assert_eq!(steps.detect(after(start, Duration::ZERO, 600_000)), Some(600_000));
        let mut now = steps.since;
        let look = |_| {
            now = after(now, SECOND, 1010);
            steps.detect(now)
        };
        let detected: Vec<_> = (0..100).filter_map(look).collect();
        assert_eq!(detected, [500, 500]);
    }
}
