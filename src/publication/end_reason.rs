//! Why a run has ended.

use std::fmt;
use std::sync::Arc;

/// Why a run has ended, as its worker says it: 1 to 255 bytes of UTF-8 without control characters.
///
/// Cheap to clone: the text is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndReason(Arc<str>);

/// The text is not a reason; the message says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reason is 1 to 255 bytes of UTF-8 without control characters")]
pub struct InvalidReason;

impl EndReason {
    /// Longest reason, in bytes.
    pub const BYTES_MAX: usize = 255;

    pub fn new(text: &str) -> Result<Self, InvalidReason> {
        let fits = !text.is_empty() && text.len() <= Self::BYTES_MAX;
        match fits && !text.chars().any(char::is_control) {
            true => Ok(Self(text.into())),
            false => Err(InvalidReason),
        }
    }

    /// The reason of a run whose worker is gone.
    pub fn abandoned() -> Self {
        Self("abandoned".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_bounded_and_have_no_control_characters() {
        for good in ["done", "the model's limit", "é", &"x".repeat(255)] {
            assert_eq!(EndReason::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a\nb", "a\u{85}b", "\u{7f}", &"x".repeat(256)] {
            assert_eq!(EndReason::new(bad), Err(InvalidReason), "{bad:?}");
        }
    }
}
