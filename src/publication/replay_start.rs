//! From where a new subscriber gets a channel's past.

use std::str::FromStr;

use super::position::Position;

/// From where a new subscriber gets a channel's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayStart {
    /// What was published after this position.
    After(Position),
    /// Everything that the history keeps.
    First,
    /// The newest publications, this many at most.
    Newest(usize),
}

/// The text is neither a position nor `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is a position, which is two whole numbers joined by a hyphen, such as 1763-41, or `first`"
)]
pub struct InvalidStart;

/// The number is not a count of publications that a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is a whole number, 1 to {}", ReplayStart::NEWEST_MAX)]
pub struct InvalidCount;

impl ReplayStart {
    /// Most publications of [`ReplayStart::Newest`].
    pub const NEWEST_MAX: usize = 1000;

    pub fn newest(count: i64) -> Result<Self, InvalidCount> {
        match usize::try_from(count) {
            Ok(count @ 1..=Self::NEWEST_MAX) => Ok(Self::Newest(count)),
            _ => Err(InvalidCount),
        }
    }
}

impl From<Position> for ReplayStart {
    fn from(position: Position) -> Self {
        Self::After(position)
    }
}

impl FromStr for ReplayStart {
    type Err = InvalidStart;

    fn from_str(text: &str) -> Result<Self, InvalidStart> {
        match text {
            "first" => Ok(Self::First),
            text => text.parse().map(Self::After).map_err(|_| InvalidStart),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_starts_at_a_position_at_the_first_or_at_a_bounded_number() {
        let position = Position { epoch: 7, seq: 5 };
        assert_eq!("7-5".parse(), Ok(ReplayStart::After(position)));
        assert_eq!("first".parse(), Ok(ReplayStart::First));
        for text in ["", "last", "First", "7", "7-x"] {
            assert_eq!(text.parse::<ReplayStart>(), Err(InvalidStart), "{text:?}");
        }
        assert_eq!(ReplayStart::newest(1000), Ok(ReplayStart::Newest(1000)));
        for count in [0, -1, 1001, i64::MAX, i64::MIN] {
            assert_eq!(ReplayStart::newest(count), Err(InvalidCount), "{count}");
        }
    }
}
