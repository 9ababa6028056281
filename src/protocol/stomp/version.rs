//! The versions of the protocol, and how each writes a header's name or value.

use std::borrow::Cow;

use super::fault::FrameFault;

/// A version of STOMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StompVersion {
    V10,
    V11,
    V12,
}

impl StompVersion {
    const EACH: [Self; 3] = [Self::V10, Self::V11, Self::V12];

    /// All versions, as the header `version` of an ERROR lists them.
    pub const LIST: &'static str = "1.0,1.1,1.2";

    pub fn as_str(self) -> &'static str {
        match self {
            Self::V10 => "1.0",
            Self::V11 => "1.1",
            Self::V12 => "1.2",
        }
    }

    /// The highest version that the client accepts. A client that names none speaks 1.0. None: the node speaks none of them.
    pub fn negotiate(accepted: Option<&str>) -> Option<Self> {
        let Some(accepted) = accepted else { return Some(Self::V10) };
        let is_accepted =
            |version: &Self| accepted.split(',').any(|name| name.trim() == version.as_str());
        Self::EACH.into_iter().rev().find(is_accepted)
    }

    /// A name or value as the version writes it. Version 1.0 cannot write line ends, which become spaces.
    pub fn escaped(self, text: &str) -> Cow<'_, str> {
        let escape = |c: char| match (self, c) {
            (Self::V10, '\n' | '\r') => Some(" "),
            (Self::V10, _) => None,
            (_, '\n') => Some("\\n"),
            (_, ':') => Some("\\c"),
            (_, '\\') => Some("\\\\"),
            (Self::V12, '\r') => Some("\\r"),
            _ => None,
        };
        if !text.chars().any(|c| escape(c).is_some()) {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len() + 8);
        for c in text.chars() {
            match escape(c) {
                Some(escaped) => out.push_str(escaped),
                None => out.push(c),
            }
        }
        Cow::Owned(out)
    }

    /// The name or value that was written so. An escape that the version does not define is a fault.
    pub fn unescaped(self, written: &str) -> Result<Cow<'_, str>, FrameFault> {
        if self == Self::V10 || !written.contains('\\') {
            return Ok(Cow::Borrowed(written));
        }
        let mut out = String::with_capacity(written.len());
        let mut chars = written.chars();
        while let Some(c) = chars.next() {
            out.push(match (c, self) {
                ('\\', _) => match (chars.next(), self) {
                    (Some('n'), _) => '\n',
                    (Some('c'), _) => ':',
                    (Some('\\'), _) => '\\',
                    (Some('r'), Self::V12) => '\r',
                    _ => return Err(FrameFault::Escape(self.as_str())),
                },
                (c, _) => c,
            });
        }
        Ok(Cow::Owned(out))
    }
}
