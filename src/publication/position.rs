//! Places in the histories of channels.

use std::fmt;
use std::str::FromStr;

/// The position of a publication in its channel's history, written `<epoch>-<seq>`.
///
/// `seq` grows by exactly one; another `epoch` is another history, and a later one is larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub epoch: u64,
    pub seq: u64,
}

impl Position {
    /// Before every publication.
    pub const MIN: Self = Self { epoch: 0, seq: 0 };

    /// No publication is after it.
    pub const MAX: Self = Self { epoch: u64::MAX, seq: u64::MAX };
}

/// The text is not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is two whole numbers joined by a hyphen, such as 1763-41")]
pub struct InvalidPosition;

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (epoch, seq) = text.split_once('-').ok_or(InvalidPosition)?;
        let number = |digits: &str| match digits.bytes().all(|b| b.is_ascii_digit()) {
            true => digits.parse().map_err(|_| InvalidPosition),
            false => Err(InvalidPosition),
        };
        Ok(Self { epoch: number(epoch)?, seq: number(seq)? })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_round_trip_and_invalid_ones_are_refused() {
        let position: Position = "1763-41".parse().unwrap();
        assert_eq!(position, Position { epoch: 1763, seq: 41 });
        assert_eq!(position.to_string(), "1763-41");
        for bad in ["", "1", "1-", "-1", "+1-2", "1-2-3", "99999999999999999999-1"] {
            assert_eq!(bad.parse::<Position>(), Err(InvalidPosition), "{bad:?}");
        }
    }
}
