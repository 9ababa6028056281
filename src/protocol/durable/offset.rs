//! Offsets: places between the messages of a stream.

use std::str::FromStr;

use crate::publication::Position;

/// From where a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamOffset {
    /// `-1`: from the first message.
    Start,
    /// `now`: what is appended from now on.
    Now,
    /// Behind the message at this position.
    Behind(Position),
}

/// The text is not an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an offset is -1, now, or one that the node has returned as Stream-Next-Offset")]
pub struct InvalidOffset;

/// Digits of each number: the most that a `u64` has, so that offsets are in the order of their texts.
const DIGITS: usize = 20;

/// The offset behind the message at this position.
pub fn offset_text(position: Position) -> String {
    let Position { epoch, seq } = position;
    format!("{epoch:0DIGITS$}_{seq:0DIGITS$}")
}

impl FromStr for StreamOffset {
    type Err = InvalidOffset;

    fn from_str(text: &str) -> Result<Self, InvalidOffset> {
        match text {
            "-1" => return Ok(Self::Start),
            "now" => return Ok(Self::Now),
            _ => {}
        }
        let (epoch, seq) = text.split_once('_').ok_or(InvalidOffset)?;
        let number = |digits: &str| {
            let is_number = digits.len() <= DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|_| is_number).ok_or(InvalidOffset)
        };
        let position = Position { epoch: number(epoch)?, seq: number(seq)? };
        // Before every message, whatever the epoch of the stream is.
        Ok(if position == Position::MIN { Self::Start } else { Self::Behind(position) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_in_the_order_of_the_positions_and_round_trip() {
        let at = |epoch, seq| Position { epoch, seq };
        let positions =
            [at(1, 0), at(1, 9), at(1, 10), at(2, 1), at(u64::MAX, 0), at(u64::MAX, u64::MAX)];
        let texts = positions.map(offset_text);
        assert!(texts.is_sorted(), "{texts:?}");
        for (position, text) in positions.iter().zip(&texts) {
            assert_eq!(text.parse(), Ok(StreamOffset::Behind(*position)));
        }
    }

    #[test]
    fn sentinels_are_offsets_and_other_texts_are_not() {
        assert_eq!("-1".parse(), Ok(StreamOffset::Start));
        assert_eq!("now".parse(), Ok(StreamOffset::Now));
        assert_eq!("0000000000000000_0000000000000000".parse(), Ok(StreamOffset::Start));
        for bad in [
            "",
            "-2",
            "NOW",
            "1",
            "_",
            "1_",
            "_1",
            "1-2",
            "+1_2",
            "1_-2",
            "1_2_3",
            " 1_2",
            "1_2\0",
            "1,2",
            "99999999999999999999_1",
            "000000000000000000001_1",
            "١_٢",
        ] {
            assert_eq!(bad.parse::<StreamOffset>(), Err(InvalidOffset), "{bad:?}");
        }
    }
}
