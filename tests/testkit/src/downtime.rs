//! How long clients were disconnected, from their logs.

use std::time::Duration;

use crate::log::{LogEvent, SubscriberLog};

/// From each close of a client to the confirmation of the last of its `channels` on the next connection.
pub fn downtimes(seen: &SubscriberLog, channels: usize) -> Vec<Duration> {
    let mut downtimes = Vec::new();
    let mut disconnected = None;
    for (at, event) in &seen.events {
        match (event, &mut disconnected) {
            (LogEvent::Closed { .. }, disconnected) => *disconnected = Some((*at, channels)),
            (LogEvent::Subscribed { .. }, Some((since, missing))) => {
                *missing -= 1;
                if *missing == 0 {
                    downtimes.push(at.duration_since(*since));
                    disconnected = None;
                }
            }
            _ => {}
        }
    }
    downtimes
}

/// The value that this share of all values does not exceed; 0 without values.
pub fn quantile(sorted: &[Duration], part: f64) -> Duration {
    let at = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_downtime_ends_with_the_last_subscription() {
        let begun = Instant::now();
        let subscribed = |channel| LogEvent::Subscribed {
            channel,
            since: None,
            position: None,
            recovered: None,
        };
        let closed = || LogEvent::Closed { why: "1012".to_owned() };
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
        let seen = SubscriberLog { name: "client".to_owned(), events: events.to_vec() };
        assert_eq!(downtimes(&seen, 2), [seconds(3.)]);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let hundred: Vec<_> = (1..=100).map(|it| seconds(f64::from(it))).collect();
        assert_eq!([0.5, 0.99, 1.].map(|it| quantile(&hundred, it)), [50., 99., 100.].map(seconds));
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }
}
