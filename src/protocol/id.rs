//! What a client names its commands by.

use serde::Serialize;

/// The name a client gave its command; the answer carries it unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Id {
    /// The integer of a json command, the packet identifier of a binary protocol.
    Number(i64),
    /// The text that text protocols have for it.
    Text(Box<str>),
}

impl From<i64> for Id {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}
