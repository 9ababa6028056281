//! The position of a stream of several channels: one opaque text over all of them, which any node can read.
//!
//! The text is base64 (RFC 4648 section 5, without padding) of: the version; the number of channels with a
//! position, and for each its tag, epoch and sequence number; the number of channels without one, and the tag
//! of each. Numbers are LEB128. A tag is the start of the SHA-256 of the channel's name, so that a stream of
//! other channels finds those that both have.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::publication::{Channel, Position};

/// Most channels of a stream, and of a text.
pub const CHANNELS_MAX: usize = 256;

const VERSION: u8 = 1;

/// 64 bits, 7 in a byte.
const NUMBER_BYTES_MAX: usize = 10;

type Tag = [u8; 4];

/// The text is not the position of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the id of an event of a stream of several channels: use the last one unchanged, or none"
)]
pub struct InvalidStreamPosition;

/// How far a stream is in each of its channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPosition(Box<[ChannelPosition]>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct ChannelPosition {
    channel: Channel,
    tag: Tag,
    reached: Reached,
}

/// How far a stream is in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It has not begun: the text does not name the channel.
    New,
    /// It has begun, but the channel keeps no history, or the text is ambiguous.
    Unknown,
    At(Position),
}

impl StreamPosition {
    /// Of a stream that has not begun.
    pub fn new(channels: &[Channel]) -> Self {
        let each = |channel: &Channel| ChannelPosition {
            channel: channel.clone(),
            tag: tag(channel),
            reached: Reached::New,
        };
        Self(channels.iter().map(each).collect())
    }

    /// Of a stream that continues where another one was at `text`. Channels that only the other one had are
    /// dropped.
    pub fn resumed(channels: &[Channel], text: &str) -> Result<Self, InvalidStreamPosition> {
        let tags = read(text)?;
        let mut position = Self::new(channels);
        for at in 0..position.0.len() {
            let tag = position.0[at].tag;
            let mut found = tags.iter().filter(|(it, _)| *it == tag);
            let is_shared = position.0.iter().filter(|it| it.tag == tag).count() > 1;
            position.0[at].reached = match (found.next(), found.next()) {
                (None, _) => Reached::New,
                (Some((_, Some(reached))), None) if !is_shared => Reached::At(*reached),
                // Two names with the same tag, or no position.
                _ => Reached::Unknown,
            };
        }
        Ok(position)
    }

    /// How far it is in each channel, in the order of the stream's list.
    pub fn each(&self) -> impl Iterator<Item = Reached> {
        self.0.iter().map(|it| it.reached)
    }

    /// How far it is in the channel.
    pub fn of(&self, channel: &str) -> Option<Reached> {
        self.0.iter().find(|it| it.channel.as_str() == channel).map(|it| it.reached)
    }

    /// Sets how far it is in one of its channels.
    pub fn set(&mut self, channel: &str, reached: Reached) {
        if let Some(it) = self.0.iter_mut().find(|it| it.channel.as_str() == channel) {
            it.reached = reached;
        }
    }

    /// Appends the text.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = Vec::with_capacity(bytes_max(self.0.len()));
        bytes.push(VERSION);
        let known = self.0.iter().filter_map(|it| match it.reached {
            Reached::At(position) => Some((it.tag, position)),
            Reached::New | Reached::Unknown => None,
        });
        write_number(&mut bytes, known.clone().count() as u64);
        for (tag, Position { epoch, seq }) in known {
            bytes.extend_from_slice(&tag);
            write_number(&mut bytes, epoch);
            write_number(&mut bytes, seq);
        }
        let unknown = self.0.iter().filter(|it| it.reached == Reached::Unknown);
        write_number(&mut bytes, unknown.clone().count() as u64);
        unknown.for_each(|it| bytes.extend_from_slice(&it.tag));
        let start = out.len();
        out.resize(start + bytes.len().div_ceil(3) * 4, 0);
        let written = BASE64.encode_slice(&bytes, &mut out[start..]);
        out.truncate(start + written.expect("four characters hold three bytes"));
    }
}

/// Longest text for so many channels, in bytes.
pub fn text_bytes_max(channels: usize) -> usize {
    bytes_max(channels).div_ceil(3) * 4
}

fn bytes_max(channels: usize) -> usize {
    1 + 2 * NUMBER_BYTES_MAX + channels * (size_of::<Tag>() + 2 * NUMBER_BYTES_MAX)
}

fn tag(channel: &Channel) -> Tag {
    let hash = digest(&SHA256, channel.as_str().as_bytes());
    *hash.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

/// The tags of a text, with their positions.
fn read(text: &str) -> Result<Vec<(Tag, Option<Position>)>, InvalidStreamPosition> {
    if text.len() > text_bytes_max(CHANNELS_MAX) {
        return Err(InvalidStreamPosition);
    }
    let bytes = BASE64.decode(text).map_err(|_| InvalidStreamPosition)?;
    read_tags(&bytes).ok_or(InvalidStreamPosition)
}

/// None: the bytes are too short, too long, or of another version.
fn read_tags(bytes: &[u8]) -> Option<Vec<(Tag, Option<Position>)>> {
    let mut rest = bytes.strip_prefix(&[VERSION])?;
    let mut tags = Vec::new();
    for has_position in [true, false] {
        for _ in 0..read_number(&mut rest)? {
            let tag: &Tag = rest.split_off(..size_of::<Tag>())?.try_into().ok()?;
            let position = match has_position {
                true => {
                    Some(Position { epoch: read_number(&mut rest)?, seq: read_number(&mut rest)? })
                }
                false => None,
            };
            tags.push((*tag, position));
        }
    }
    (rest.is_empty() && tags.len() <= CHANNELS_MAX).then_some(tags)
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number off the front. None: there is none, or it has more than 64 bits.
fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = *bytes.split_off_first()?;
        let bits = u64::from(byte & 0x7f);
        if bits > u64::MAX >> shift {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(names: &[&str]) -> Vec<Channel> {
        names.iter().map(|name| Channel::new(name).unwrap()).collect()
    }

    fn text(position: &StreamPosition) -> String {
        let mut text = Vec::new();
        position.write(&mut text);
        String::from_utf8(text).unwrap()
    }

    fn at(epoch: u64, seq: u64) -> Reached {
        Reached::At(Position { epoch, seq })
    }

    fn resumed(names: &[&str], text: &str) -> Result<Vec<Reached>, InvalidStreamPosition> {
        StreamPosition::resumed(&channels(names), text).map(|it| it.each().collect())
    }

    /// At 7-5 in `a`, begun in `b`, not begun in `c`.
    fn sample() -> StreamPosition {
        let mut position = StreamPosition::new(&channels(&["a", "b", "c"]));
        position.set("a", at(7, 5));
        position.set("b", Reached::Unknown);
        position
    }

    #[test]
    fn a_stream_position_names_its_channels_so_that_another_list_finds_those_it_has() {
        let text = text(&sample());
        assert_eq!(resumed(&["a", "b", "c"], &text), Ok(sample().each().collect()));
        let other = [Reached::New, Reached::Unknown, at(7, 5), Reached::New];
        assert_eq!(resumed(&["d", "b", "a", "c"], &text), Ok(other.to_vec()));
        assert_eq!(sample().of("a"), Some(at(7, 5)));
        assert_eq!(sample().of("d"), None);
    }

    #[test]
    fn the_text_of_a_stream_position_is_bounded_and_its_format_has_a_version() {
        // A node of another version of this program must read it: change VERSION with the format.
        assert_eq!(text(&sample()), "AQHKl4ESBwUBPiPoFg");
        let names: Vec<String> = (0..128).map(|number| number.to_string()).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut position = StreamPosition::new(&channels(&names));
        for name in &names {
            position.set(name, at(1_763_999_999_123_456_789, 1_000_000));
        }
        assert_eq!(text(&position).len(), 2736);
        for name in &names {
            position.set(name, at(u64::MAX, u64::MAX));
        }
        let longest = text(&position);
        assert!(longest.len() <= text_bytes_max(128) && longest.len() < 4200);
        assert_eq!(resumed(&names, &longest), Ok(vec![at(u64::MAX, u64::MAX); 128]));
        names.truncate(1);
        assert_eq!(resumed(&names, &longest), Ok(vec![at(u64::MAX, u64::MAX)]));
    }

    #[test]
    fn a_cut_or_extended_text_is_no_stream_position() {
        let text = text(&sample());
        for bad in
            ["", "7-5", "none", "\u{e4}", &text.repeat(2), &format!("{text}="), &"A".repeat(9000)]
        {
            assert_eq!(resumed(&["a"], bad), Err(InvalidStreamPosition), "{bad}");
        }
        for cut in 0..text.len() {
            assert_eq!(resumed(&["a"], &text[..cut]), Err(InvalidStreamPosition), "{cut}");
        }
        let unknown_version = BASE64.encode([2, 0, 0]);
        assert_eq!(resumed(&["a"], &unknown_version), Err(InvalidStreamPosition));
    }

    #[test]
    fn channels_with_the_same_tag_do_not_resume_from_each_others_positions() {
        let names: Vec<Channel> =
            (0..200_000).map(|it| Channel::new(&it.to_string()).unwrap()).collect();
        let mut seen = std::collections::HashMap::new();
        let pair = names.iter().find_map(|name| Some([name, seen.insert(tag(name), name)?]));
        let [one, other] = pair.expect("among 200,000 names, two share a tag of 32 bits");
        let mut position = StreamPosition::new(&[one.clone(), other.clone()]);
        position.set(one.as_str(), at(1, 1));
        position.set(other.as_str(), at(1, 9));
        let both = resumed(&[one.as_str(), other.as_str()], &text(&position));
        assert_eq!(both, Ok(vec![Reached::Unknown; 2]));
        assert_eq!(resumed(&[one.as_str()], &text(&position)), Ok(vec![Reached::Unknown]));
        position = StreamPosition::new(std::slice::from_ref(one));
        position.set(one.as_str(), at(1, 1));
        let both = resumed(&[one.as_str(), other.as_str()], &text(&position));
        assert_eq!(both, Ok(vec![Reached::Unknown; 2]), "it may be the position of either");
    }

    proptest::proptest! {
        #[test]
        fn no_text_of_a_stream_position_panics(text in ".{0,64}", bytes: Vec<u8>) {
            let _ = resumed(&["a", "b"], &text);
            let _ = resumed(&["a", "b"], &BASE64.encode([&[VERSION][..], &bytes].concat()));
        }

        #[test]
        fn a_stream_position_round_trips(epochs: [Option<(u64, u64)>; 5]) {
            let names = ["a", "b", "c", "d", "e"];
            let mut position = StreamPosition::new(&channels(&names));
            for (name, known) in names.iter().zip(epochs) {
                position.set(name, known.map_or(Reached::Unknown, |(epoch, seq)| at(epoch, seq)));
            }
            proptest::prop_assert_eq!(resumed(&names, &text(&position)), Ok(position.each().collect()));
        }
    }
}
