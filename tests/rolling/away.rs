//! How long clients were away, as their logs have it.

use std::time::Duration;

use crate::log::{Event, Seen};

/// From each close of a client to the confirmation of the last of its `channels` on the next connection.
pub fn absences(seen: &Seen, channels: usize) -> Vec<Duration> {
    let mut absences = Vec::new();
    let mut away = None;
    for (at, event) in &seen.events {
        match (event, &mut away) {
            (Event::Closed { .. }, away) => *away = Some((*at, channels)),
            (Event::Subscribed { .. }, Some((since, missing))) => {
                *missing -= 1;
                if *missing == 0 {
                    absences.push(at.duration_since(*since));
                    away = None;
                }
            }
            _ => {}
        }
    }
    absences
}

/// The value that this part of all is at most; 0 of nothing.
pub fn quantile(sorted: &[Duration], part: f64) -> Duration {
    let at = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}
