//! When each connection is told to close, and when its client should reconnect. Plain numbers, no I/O.

use std::time::Duration;

/// The longest time a client is told to stay away. A cap that needs more is exceeded.
pub const AFTER_MAX: Duration = Duration::from_secs(30);

/// The most random time added to it.
const JITTER_MAX: Duration = Duration::from_secs(1);

/// The least time over which reconnects are spread if all clients are told at once.
const AT_ONCE_SPREAD: Duration = Duration::from_secs(1);

/// A shorter wait does not count: the session only waited to be scheduled.
const WAITED_MIN: Duration = Duration::from_millis(50);

/// The share of the cap that is used, because some clients reconnect late and coincide with others.
const CAP_AIM: f64 = 0.9;

/// Spreads closes evenly over one time, and the clients' reconnects evenly over another, which may be
/// longer: so the other nodes get handshakes at an even rate below a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    connections: usize,
    closes: Duration,
    reconnects: Duration,
}

impl Plan {
    /// Closes within `closes`, and reconnects within the same time or, if they would exceed nine tenths of
    /// `per_second`, within the time that needs; at most [`AFTER_MAX`] more. 0: no cap.
    pub fn new(connections: usize, closes: Duration, per_second: usize) -> Self {
        let needed = match per_second {
            0 => Duration::ZERO,
            cap => Duration::from_secs_f64(connections as f64 / (cap as f64 * CAP_AIM)),
        };
        let reconnects = needed.min(closes + AFTER_MAX - JITTER_MAX).max(closes);
        Self { connections, closes, reconnects }
    }

    /// All closes at once, with reconnects over a second, or longer if the cap requires it.
    pub fn at_once(connections: usize, per_second: usize) -> Self {
        let plan = Self::new(connections, Duration::ZERO, per_second);
        Self { reconnects: plan.reconnects.max(AT_ONCE_SPREAD), ..plan }
    }

    /// How many have to be told by `elapsed`, the time since the beginning. The first is told immediately.
    pub fn due(&self, elapsed: Duration) -> usize {
        if elapsed >= self.closes {
            return self.connections;
        }
        let share = elapsed.as_secs_f64() / self.closes.as_secs_f64();
        ((self.connections as f64 * share) as usize + 1).min(self.connections)
    }

    /// How long the client of this number, from 0, should stay away if it is told now. `chance`: 0 to 1.
    pub fn after(&self, number: usize, elapsed: Duration, chance: f64) -> Duration {
        // Each client has its own slot, so that reconnects do not coincide.
        let slot = self.reconnects.div_f64(self.connections.max(1) as f64);
        let back_at = slot.mul_f64(number as f64) + slot.min(JITTER_MAX).mul_f64(chance);
        back_at.saturating_sub(elapsed).min(AFTER_MAX)
    }
}

/// What is left of `after` for a client that is told late, because its session first `waited` for the broker. If
/// that time is over, `chance` (0 to 1) spreads late clients over as long as they waited: no more clients were told in
/// that time than may reconnect in it.
pub fn left(after: Duration, waited: Duration, chance: f64) -> Duration {
    match after.checked_sub(waited) {
        Some(left) => left,
        None if waited < WAITED_MIN => Duration::ZERO,
        None => waited.clamp(AT_ONCE_SPREAD, AFTER_MAX).mul_f64(chance),
    }
}

/// The part of `period` for closes, so that the last connection has ended by its end: each session may wait up to
/// `leave_timeout` for answers. At least three quarters, so that short periods are still spread.
pub fn closes_within(period: Duration, leave_timeout: Duration) -> Duration {
    period.saturating_sub(leave_timeout).max(period * 3 / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(20);

    /// When each connection is closed, and when its client reconnects, in seconds.
    fn closes(plan: Plan, chance: impl Fn(usize) -> f64) -> Vec<(f64, f64)> {
        let (wave, mut now, mut all) = (Duration::from_millis(50), Duration::ZERO, Vec::new());
        loop {
            for number in all.len()..plan.due(now + wave) {
                let after = plan.after(number, now, chance(number));
                assert!(after <= AFTER_MAX);
                all.push((now.as_secs_f64(), (now + after).as_secs_f64()));
            }
            if all.len() == plan.connections {
                return all;
            }
            now += wave;
        }
    }

    /// The largest number of these times within one second.
    fn busiest_second(moments: impl Iterator<Item = f64>) -> usize {
        let mut moments: Vec<_> = moments.collect();
        moments.sort_by(f64::total_cmp);
        let mut first = 0;
        let within = |(last, at): (usize, &f64)| {
            while moments[first] < at - 1. {
                first += 1;
            }
            last + 1 - first
        };
        moments.iter().enumerate().map(within).max().unwrap_or(0)
    }

    fn any(number: usize) -> f64 {
        (number * 7919 % 1000) as f64 / 1000.
    }

    #[test]
    fn all_connections_are_closed_within_the_period_and_evenly() {
        for count in [2, 40, 1000, 17_001] {
            let all = closes(Plan::new(count, PERIOD, 1000), any);
            assert_eq!(all.len(), count);
            assert!(all.iter().all(|(closed, _)| *closed <= 20.));
            let busiest = busiest_second(all.iter().map(|it| it.0));
            assert!(busiest <= count / 20 + count / 400 + 2, "{busiest} of {count} in a second");
        }
    }

    #[test]
    fn reconnects_keep_to_the_cap_as_far_as_the_longest_wait_allows() {
        for (count, cap) in [(100, 1000), (20_000, 1000), (40_000, 1000), (2500, 61), (10, 0)] {
            let all = closes(Plan::new(count, PERIOD, cap), any);
            let busiest = busiest_second(all.iter().map(|it| it.1));
            let even = count.div_ceil(20) + 2;
            let most = if cap == 0 { even } else { cap.min(even) };
            assert!(busiest <= most, "{busiest} of {count} in a second, cap {cap}");
        }
        // More than the cap allows in 49 seconds: then as evenly as possible.
        let all = closes(Plan::new(100_000, PERIOD, 1000), any);
        let busiest = busiest_second(all.iter().map(|it| it.1));
        assert!((2000..=2100).contains(&busiest), "{busiest} in a second");
        assert!(all.iter().all(|(_, back)| *back <= 50.));
    }

    #[test]
    fn no_client_reconnects_before_its_close_and_few_clients_need_not_wait() {
        assert!(closes(Plan::new(5000, PERIOD, 100), any).iter().all(|it| it.1 >= it.0));
        assert_eq!(closes(Plan::new(0, PERIOD, 1), any), []);
        for period in [Duration::ZERO, PERIOD] {
            let [(closed, back)] = closes(Plan::new(1, period, 1000), |_| 1.)[..] else { panic!() };
            assert!(closed == 0. && back <= 1., "{closed} {back}");
        }
        let at_once = closes(Plan::new(500, Duration::ZERO, 100), any);
        assert!(at_once.iter().all(|it| it.0 == 0.));
        assert!(busiest_second(at_once.iter().map(|it| it.1)) <= 100, "the cap holds even so");
    }

    #[test]
    fn a_million_closes_are_planned_within_ten_seconds() {
        let start = std::time::Instant::now();
        let all = closes(Plan::new(1_000_000, PERIOD, 100_000), any);
        assert_eq!(all.len(), 1_000_000);
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }

    #[test]
    fn a_client_told_late_reconnects_as_planned_or_spread_if_that_time_is_over() {
        let seconds = Duration::from_secs_f64;
        assert_eq!(left(seconds(9.), seconds(0.), 0.5), seconds(9.));
        assert_eq!(left(seconds(9.), seconds(2.), 0.5), seconds(7.));
        assert_eq!(left(seconds(1.), seconds(4.), 0.5), seconds(2.));
        assert_eq!(left(seconds(0.1), seconds(0.2), 0.5), seconds(0.5));
        assert_eq!(left(seconds(0.), seconds(100.), 1.), AFTER_MAX);
        assert_eq!(left(seconds(0.), seconds(0.01), 1.), seconds(0.));
    }

    #[test]
    fn the_last_connection_closed_has_ended_when_the_period_ends() {
        let seconds = Duration::from_secs_f64;
        assert_eq!(closes_within(seconds(20.), seconds(2.5)), seconds(17.5));
        assert_eq!(closes_within(seconds(1.), seconds(2.5)), seconds(0.75));
        assert_eq!(closes_within(seconds(0.), seconds(2.5)), seconds(0.));
    }
}
