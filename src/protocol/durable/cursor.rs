//! Cursors: numbers that clients send back with their next request, so that a cache does not answer a live read
//! with the same response for ever (section 10.1 of the protocol).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time from which intervals are counted: 9 October 2024, 00:00 UTC.
const EPOCH: Duration = Duration::from_secs(1_728_432_000);

const INTERVAL_SECONDS: u64 = 20;

/// How many seconds a cursor is advanced where the client has that of this interval already.
const JITTER_SECONDS: std::ops::RangeInclusive<u64> = 1..=3600;

/// Largest cursor of a client that counts: numbers of JavaScript are exact up to here.
const CURSOR_MAX: u64 = 1 << 53;

/// The cursor of a response. `sent`: the one that the client has sent, which the new one exceeds.
pub fn next_cursor(sent: Option<u64>) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let current = now.saturating_sub(EPOCH).as_secs() / INTERVAL_SECONDS;
    match sent.filter(|sent| (current..=CURSOR_MAX).contains(sent)) {
        None => current,
        Some(sent) => {
            let jitter = rand::random_range(JITTER_SECONDS).div_ceil(INTERVAL_SECONDS);
            sent + jitter
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_exceeds_the_one_that_the_client_has_sent() {
        let first = next_cursor(None);
        assert!(next_cursor(Some(first)) > first);
        assert!(next_cursor(Some(first + 1000)) > first + 1000);
        assert!(next_cursor(Some(first - 1)) >= first);
        assert!(next_cursor(Some(u64::MAX)) < CURSOR_MAX);
    }
}
