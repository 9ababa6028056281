//! Durations and sizes, which always carry their unit.

use std::time::Duration;

const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: [(&str, usize); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// `"250ms"`, `"25s"`, `"10m"`. A bare number is rejected, except 0.
pub fn read_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (number, unit) = split(text)?;
    let (_, millis) = DURATIONS.iter().find(|(name, _)| *name == unit)?;
    Some(Duration::from_millis(u64::try_from(number).ok()?.checked_mul(*millis)?))
}

/// Uses the largest unit that is exact.
pub fn write_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let exact =
        DURATIONS.iter().rev().find(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit));
    exact.map_or_else(|| "0s".to_owned(), |(name, unit)| format!("{}{name}", millis / unit))
}

/// `"512B"`, `"64KiB"`, `"1MiB"`. A bare number is rejected.
pub fn read_bytes(text: &str) -> Option<usize> {
    let (number, unit) = split(text)?;
    let (_, bytes) = SIZES.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*bytes)
}

/// Uses the largest unit that is exact.
pub fn write_bytes(bytes: usize) -> String {
    let exact = SIZES.iter().rev().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    exact.map_or_else(|| "0B".to_owned(), |(name, unit)| format!("{}{name}", bytes / unit))
}

fn split(text: &str) -> Option<(usize, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(read_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(read_duration("2h"), Some(Duration::from_secs(7200)));
        for bad in ["25", "", "s", "-1s", "1.5s", "1w", "99999999999999999d"] {
            assert_eq!(read_duration(bad), None, "{bad:?}");
        }
        assert_eq!(write_duration(Duration::from_secs(90)), "90s");
        assert_eq!(write_duration(Duration::from_secs(120)), "2m");
    }

    #[test]
    fn sizes_carry_their_unit() {
        assert_eq!(read_bytes("64KiB"), Some(65536));
        assert_eq!(read_bytes("1 MiB"), Some(1 << 20));
        for bad in ["64", "64K", "", "-1B", "99999999999GiB"] {
            assert_eq!(read_bytes(bad), None, "{bad:?}");
        }
        assert_eq!(write_bytes(65536), "64KiB");
        assert_eq!(write_bytes(1000), "1000B");
    }
}
