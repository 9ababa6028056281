//! The clients' ids of commands.

use serde::Serialize;

/// A client's id of a command; the reply contains it unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Id {
    /// The integer of a json command, or the packet identifier of a binary protocol.
    Number(i64),
    /// The id in a text protocol.
    Text(Box<str>),
}

impl From<i64> for Id {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}
