//! The curve and the absences are counted right: they are what the suite goes by. The checker is proven in
//! `tests/chaos/proof.rs`.
//!
//! A target of its own, since `main.rs` has no test harness.

#[allow(dead_code, reason = "what only `main.rs` uses")]
mod away;
#[allow(dead_code, reason = "what only `main.rs` uses")]
mod curve;
#[allow(dead_code, reason = "what only `main.rs` uses")]
#[path = "../chaos/log.rs"]
mod log;

use std::time::{Duration, Instant};

use away::{absences, quantile};
use curve::{Curve, peak};
use log::{Event, Seen};

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// So many evenly within each second.
fn moments(rates: &[u32]) -> Vec<Duration> {
    let of = |(second, rate): (usize, &u32)| {
        let rate = *rate;
        (0..rate).map(move |it| seconds(second as f64 + f64::from(it) / f64::from(rate)))
    };
    rates.iter().enumerate().flat_map(of).collect()
}

#[test]
fn the_peak_is_that_of_the_worst_second() {
    let even = Curve::of_moments(moments(&[10, 10, 10, 10]));
    assert!((9.0..=11.).contains(&peak(&[even]).0));
    let storm = Curve::of_moments(moments(&[10, 10, 200, 10]));
    let (highest, when) = peak(&[storm]);
    assert!((195.0..=205.).contains(&highest), "{highest}");
    assert!((1.9..=2.1).contains(&when.as_secs_f64()), "{when:?}");
}

#[test]
fn a_storm_that_spans_two_seconds_is_seen_whole() {
    let storm = (0..100).map(|it| seconds(2.95 + f64::from(it) * 0.001));
    assert_eq!(peak(&[Curve::of_moments(storm)]).0, 100.);
}

#[test]
fn a_storm_is_seen_through_looks_too() {
    // Four looks a second: nothing, then sixty at once.
    let looks = [0., 0., 0., 60., 60., 60., 60., 60.];
    let looks = looks.iter().zip(0_u32..).map(|(count, it)| (seconds(0.25) * it, 5. + count));
    assert_eq!(peak(&[Curve::of_looks(looks)]).0, 60.);
}

#[test]
fn nodes_are_added_up_at_the_same_time() {
    let early = || Curve::of_moments(moments(&[50, 0, 0]));
    let late = Curve::of_moments(moments(&[0, 0, 50]));
    assert!(peak(&[early(), late]).0 < 60.);
    assert!(peak(&[early(), early()]).0 > 90.);
    assert_eq!(peak(&[]).0, 0.);
}

#[test]
fn an_absence_ends_with_the_last_subscription() {
    let begun = Instant::now();
    let subscribed =
        |channel| Event::Subscribed { channel, since: None, position: None, recovered: None };
    let closed = || Event::Closed { why: "1012".to_owned() };
    let events = [
        (0., subscribed(0)),
        (0., subscribed(1)),
        (10., closed()),
        (12., subscribed(1)),
        (13., subscribed(0)),
        (20., closed()),
        (21., subscribed(0)),
    ];
    let events = events.map(|(at, event)| (begun + seconds(at), event));
    let seen = Seen { name: "she".to_owned(), events: events.to_vec() };
    assert_eq!(absences(&seen, 2), [seconds(3.)]);
}

#[test]
fn quantiles_are_of_those_that_are_there() {
    let hundred: Vec<_> = (1..=100).map(|it| seconds(f64::from(it))).collect();
    assert_eq!([0.5, 0.99, 1.].map(|it| quantile(&hundred, it)), [50., 99., 100.].map(seconds));
    assert_eq!(quantile(&[], 0.5), Duration::ZERO);
}
