//! Decides which refusals of Redis are logged as warnings: without a permission, the same refusal recurs every second.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The shortest time between two warnings of one kind.
const INTERVAL: Duration = Duration::from_secs(60);

/// The most kinds tracked; further kinds are always due. The channels here are the nodes' own, a few.
const KINDS_MAX: usize = 64;

/// When each kind was last logged.
type LastReported = HashMap<(&'static str, String), Instant>;

/// Whether this is the first refusal of this command and channel, or the first for a minute.
pub fn is_due(command: &'static str, channel: &str, now: Instant) -> bool {
    static LAST_REPORTED: Mutex<Option<LastReported>> = Mutex::new(None);
    let mut last_reported = LAST_REPORTED.lock().expect("no code panics while it holds the lock");
    note(last_reported.get_or_insert_default(), command, channel, now)
}

fn note(
    last_reported: &mut LastReported,
    command: &'static str,
    channel: &str,
    now: Instant,
) -> bool {
    let kind = (command, channel.to_owned());
    let is_due = last_reported.get(&kind).is_none_or(|at| now.duration_since(*at) >= INTERVAL);
    if is_due && (last_reported.len() < KINDS_MAX || last_reported.contains_key(&kind)) {
        last_reported.insert(kind, now);
    }
    is_due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_refusal_of_each_kind_is_due_and_then_one_a_minute() {
        let (mut told, start) = (LastReported::new(), Instant::now());
        let mut at = |seconds, command, channel| {
            note(&mut told, command, channel, start + Duration::from_secs(seconds))
        };
        assert!(at(0, "PUBLISH", "a"));
        assert!((1..60).all(|second| !at(second, "PUBLISH", "a")));
        assert!(at(1, "PUBLISH", "") && at(1, "SUBSCRIBE", "a"), "others are told apart");
        assert!(at(60, "PUBLISH", "a") && !at(61, "PUBLISH", "a"));
    }
}
