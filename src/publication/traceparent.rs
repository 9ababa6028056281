//! The trace of a request and its parent span: the `traceparent` of the W3C Trace Context, level 1.

use std::fmt;
use std::str::FromStr;

/// A trace, and the parent span in it. Written `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traceparent {
    trace: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

/// The text is not a valid `traceparent`. The standard allows the receiver to continue without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a traceparent is 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, lower case, not all zero"
)]
pub struct InvalidTraceparent;

/// Bytes of version 00, and of the known part of any later one.
const BYTES: usize = 55;

/// The flag that says that the sender records the trace. Level 1 defines no other.
const SAMPLED: u8 = 1;

impl Traceparent {
    /// The parent of a recorded trace. None: an id is all zero, which is invalid.
    pub fn sampled(trace: [u8; 16], span: [u8; 8]) -> Option<Self> {
        let is_valid = trace != [0; 16] && span != [0; 8];
        is_valid.then_some(Self { trace, span, flags: SAMPLED })
    }

    /// Parses the header of a request. Two headers contradict each other, and count as none.
    pub fn of_headers<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let (first, second) = (values.next()?, values.next());
        let text = std::str::from_utf8(first).ok().filter(|_| second.is_none())?;
        text.parse().ok()
    }

    /// Whether the sender records the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    pub fn trace(&self) -> [u8; 16] {
        self.trace
    }

    pub fn span(&self) -> [u8; 8] {
        self.span
    }
}

impl FromStr for Traceparent {
    type Err = InvalidTraceparent;

    /// The known part of a later version is read, and becomes version 00.
    fn from_str(text: &str) -> Result<Self, InvalidTraceparent> {
        let (known, rest) = text.as_bytes().split_at_checked(BYTES).ok_or(InvalidTraceparent)?;
        let are_apart = known[2] == b'-' && known[35] == b'-' && known[52] == b'-';
        let [version] = bytes(&known[..2])?;
        let may_end = match version {
            0 => rest.is_empty(),
            u8::MAX => false,
            _ => rest.first().is_none_or(|next| *next == b'-'),
        };
        if !are_apart || !may_end {
            return Err(InvalidTraceparent);
        }
        let read = Self::sampled(bytes(&known[3..35])?, bytes(&known[36..52])?);
        let [flags] = bytes(&known[53..])?;
        // The other flags of later versions are unknown to version 00.
        let flags = if version == 0 { flags } else { flags & SAMPLED };
        Ok(Self { flags, ..read.ok_or(InvalidTraceparent)? })
    }
}

/// Decodes lower-case hexadecimal digits, twice as many as bytes.
fn bytes<const COUNT: usize>(digits: &[u8]) -> Result<[u8; COUNT], InvalidTraceparent> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(InvalidTraceparent),
    };
    let mut bytes = [0; COUNT];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace), u64::from_be_bytes(self.span));
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn read(text: &str) -> Option<Traceparent> {
        text.parse().ok()
    }

    #[test]
    fn a_valid_traceparent_round_trips() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("ff", true)] {
            let text = format!("00-{TRACE}-{SPAN}-{flags}");
            let read = read(&text).unwrap();
            assert_eq!((read.to_string(), read.is_sampled()), (text, sampled));
        }
    }

    #[test]
    fn an_invalid_traceparent_is_refused() {
        let (no_trace, no_span) = ("0".repeat(32), "0".repeat(16));
        for text in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-0"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{no_trace}-{SPAN}-01"),
            format!("00-{TRACE}-{no_span}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}_{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}_01"),
            format!(" 00-{TRACE}-{SPAN}-1"),
            format!("0A-{TRACE}-{SPAN}-01"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("01-{TRACE}-{SPAN}-01more"),
            "é".repeat(28),
        ] {
            assert_eq!(read(&text), None, "{text:?}");
        }
    }

    #[test]
    fn a_traceparent_of_a_later_version_becomes_version_00() {
        for rest in ["", "-", "-an unknown extension"] {
            let read = read(&format!("cc-{TRACE}-{SPAN}-ff{rest}")).unwrap();
            assert_eq!(read.to_string(), format!("00-{TRACE}-{SPAN}-01"));
        }
    }

    #[test]
    fn two_traceparent_headers_count_as_none() {
        let one = format!("00-{TRACE}-{SPAN}-01");
        let of = |values: &[&[u8]]| Traceparent::of_headers(values.iter().copied());
        assert_eq!(of(&[one.as_bytes()]), read(&one));
        assert_eq!(of(&[one.as_bytes(), one.as_bytes()]), None);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[b"\xff"]), None);
    }
}
