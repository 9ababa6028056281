//! A counter over time, and its highest rate.

use std::time::Duration;

/// The window of a rate.
pub const WINDOW: Duration = Duration::from_secs(1);

/// The distance between the starts of two windows.
const STEP: Duration = Duration::from_millis(20);

/// A counter over time, relative to a start.
#[derive(Clone, Debug, Default)]
pub struct Curve(Vec<(Duration, f64)>);

impl Curve {
    /// From samples of a counter in time order. Between two samples it is interpolated linearly.
    pub fn from_samples(samples: impl IntoIterator<Item = (Duration, f64)>) -> Self {
        Self(samples.into_iter().collect())
    }

    /// From the times of events, in any order.
    pub fn from_timestamps(moments: impl IntoIterator<Item = Duration>) -> Self {
        let mut moments: Vec<_> = moments.into_iter().collect();
        moments.sort();
        let steps = moments.into_iter().zip(0_u32..);
        let points =
            steps.flat_map(|(at, before)| [(at, before.into()), (at, f64::from(before) + 1.)]);
        Self(points.collect())
    }

    /// The increase within this time.
    pub fn between(&self, from: Duration, until: Duration) -> f64 {
        self.at(until) - self.at(from)
    }

    /// The time of the last sample.
    pub fn end(&self) -> Duration {
        self.0.last().map_or(Duration::ZERO, |it| it.0)
    }

    fn at(&self, time: Duration) -> f64 {
        let next = self.0.partition_point(|(at, _)| *at <= time);
        let before = next.checked_sub(1).map(|it| self.0[it]);
        match (before, self.0.get(next).copied()) {
            (None, None) => 0.,
            (None, Some((_, count))) | (Some((_, count)), None) => count,
            (Some((before, low)), Some((after, high))) => {
                let part = (time - before).as_secs_f64() / (after - before).as_secs_f64();
                low + (high - low) * part
            }
        }
    }
}

/// The highest increase of all curves together within any second, and the start of that second.
pub fn peak(curves: &[Curve]) -> (f64, Duration) {
    let end = curves.iter().map(Curve::end).max().unwrap_or_default();
    let mut highest = (0., Duration::ZERO);
    let mut from = Duration::ZERO;
    while from <= end {
        let grown = curves.iter().map(|it| it.between(from, from + WINDOW)).sum();
        if grown > highest.0 {
            highest = (grown, from);
        }
        from += STEP;
    }
    highest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// The given number of events in each second, evenly spaced.
    fn moments(rates: &[u32]) -> Vec<Duration> {
        let of = |(second, rate): (usize, &u32)| {
            let rate = *rate;
            (0..rate).map(move |it| seconds(second as f64 + f64::from(it) / f64::from(rate)))
        };
        rates.iter().enumerate().flat_map(of).collect()
    }

    #[test]
    fn the_peak_is_the_rate_of_the_worst_second() {
        let even = Curve::from_timestamps(moments(&[10, 10, 10, 10]));
        assert!((9.0..=11.).contains(&peak(&[even]).0));
        let storm = Curve::from_timestamps(moments(&[10, 10, 200, 10]));
        let (highest, when) = peak(&[storm]);
        assert!((195.0..=205.).contains(&highest), "{highest}");
        assert!((1.9..=2.1).contains(&when.as_secs_f64()), "{when:?}");
    }

    #[test]
    fn a_storm_across_a_second_boundary_is_counted_completely() {
        let storm = (0..100).map(|it| seconds(2.95 + f64::from(it) * 0.001));
        assert_eq!(peak(&[Curve::from_timestamps(storm)]).0, 100.);
    }

    #[test]
    fn a_storm_in_samples_is_counted_completely() {
        // Four samples a second: no change, then 60 at once.
        let samples = [0., 0., 0., 60., 60., 60., 60., 60.];
        let samples =
            samples.iter().zip(0_u32..).map(|(count, it)| (seconds(0.25) * it, 5. + count));
        assert_eq!(peak(&[Curve::from_samples(samples)]).0, 60.);
    }

    #[test]
    fn the_peak_adds_curves_of_the_same_second() {
        let early = || Curve::from_timestamps(moments(&[50, 0, 0]));
        let late = Curve::from_timestamps(moments(&[0, 0, 50]));
        assert!(peak(&[early(), late]).0 < 60.);
        assert!(peak(&[early(), early()]).0 > 90.);
        assert_eq!(peak(&[]).0, 0.);
    }
}
