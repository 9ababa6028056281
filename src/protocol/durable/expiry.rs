//! How long a stream lives, as the client that creates it says.

use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a stream lives.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamExpiry {
    /// For so many seconds after it was used (`Stream-TTL`).
    Ttl(u64),
    /// Until a time (`Stream-Expires-At`), as the client has written it, and in Unix milliseconds.
    At { text: String, millis: u64 },
}

/// Longest time to live in seconds: a hundred years.
const TTL_MAX: u64 = 100 * 366 * 24 * 60 * 60;

impl StreamExpiry {
    /// Parses `Stream-TTL`: a whole number without sign or leading zeros.
    pub fn parse_ttl(text: &str) -> Option<Self> {
        let is_canonical = text == "0" || !text.starts_with('0');
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = text.parse().ok().filter(|seconds| *seconds <= TTL_MAX)?;
        (is_number && is_canonical).then_some(Self::Ttl(seconds))
    }

    /// Parses `Stream-Expires-At`: an RFC 3339 timestamp.
    pub fn parse_time(text: &str) -> Option<Self> {
        let millis = u64::try_from(unix_millis(text)?).ok()?;
        Some(Self::At { text: text.to_owned(), millis })
    }

    /// Whether both mean the same, however they are written.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ttl(one), Self::Ttl(other)) => one == other,
            (Self::At { millis: one, .. }, Self::At { millis: other, .. }) => one == other,
            _ => false,
        }
    }

    /// Whether the time is over.
    pub fn is_over(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        matches!(self, Self::At { millis, .. } if Duration::from_millis(*millis) <= now)
    }
}

/// An RFC 3339 timestamp in Unix milliseconds; finer digits are dropped.
fn unix_millis(text: &str) -> Option<i64> {
    let (date, time) = text.split_at_checked(10)?;
    let time = time.strip_prefix(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, "-", [4, 2, 2])?;
    let (clock, rest) = time.split_at_checked(8)?;
    let [hour, minute, second] = numbers(clock, ":", [2, 2, 2])?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let count = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, zone) = rest.split_at(count);
            let millis: String = digits.chars().chain("000".chars()).take(3).collect();
            (if count == 0 { return None } else { millis.parse().ok()? }, zone)
        }
    };
    let fits = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    fits.then_some((seconds - zone_seconds(zone)?) * 1000 + fraction)
}

/// Three numbers of these lengths with a separator between them.
fn numbers(text: &str, separator: &str, lengths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut number = |length: usize| {
        let part = parts.next()?;
        let is_number = part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|_| is_number)
    };
    let [first, second, third] = lengths;
    let all = [number(first)?, number(second)?, number(third)?];
    parts.next().is_none().then_some(all)
}

/// `Z`, `+01:00` or `-01:00`.
fn zone_seconds(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let [hours, minutes, _] = numbers(&format!("{}:00", zone.get(1..)?), ":", [2, 2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The days of the Gregorian calendar from 1 January 1970. The year is counted from March, so that a leap day is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    const DAYS_TO_1970: i64 = 719_468;
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + days_of_year
        - DAYS_TO_1970
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_read_in_every_time_zone() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-30T16:31:00Z", 1_796_056_260_000),
            ("2026-11-30T16:31:00.5Z", 1_796_056_260_500),
            ("2026-11-30t17:31:00.123456+01:00", 1_796_056_260_123),
            ("2026-11-30T11:01:00-05:30", 1_796_056_260_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
            ("2000-03-01T00:00:00Z", 951_868_800_000),
        ] {
            assert_eq!(unix_millis(text), Some(millis), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_timestamp_is_refused() {
        for text in [
            "",
            "soon",
            "2026-11-30",
            "2026-11-30T16:31:00",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-30T24:00:00Z",
            "2026-11-30T16:31:00.Z",
            "2026-11-30T16:31:00+1:00",
            "26-11-30T16:31:00Z",
            "2026-11-30T16:31:00Zz",
            "é026-11-30T16:31:00Z",
        ] {
            assert_eq!(unix_millis(text), None, "{text}");
        }
        assert_eq!(StreamExpiry::parse_time("1969-12-31T23:59:59Z"), None);
    }

    #[test]
    fn a_time_to_live_is_a_whole_number_without_sign_or_leading_zeros() {
        assert_eq!(StreamExpiry::parse_ttl("3600"), Some(StreamExpiry::Ttl(3600)));
        assert_eq!(StreamExpiry::parse_ttl("0"), Some(StreamExpiry::Ttl(0)));
        for bad in ["", "-1", "+1", "01", "1.0", "1e3", " 1", "x", "99999999999999999999"] {
            assert_eq!(StreamExpiry::parse_ttl(bad), None, "{bad:?}");
        }
    }
}
