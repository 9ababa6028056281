//! What the node says unasked, beside publications.

use std::time::Duration;

use crate::publication::{Change, User};

/// A message of the node that answers nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push<'a> {
    Welcome {
        session: String,
        node: String,
        ping_interval_ms: u64,
    },
    /// Publications of the channel may be missing from here on back.
    Gap {
        channel: &'a str,
        reason: &'static str,
    },
    /// A user came to the channel, or left it.
    Presence {
        channel: &'a str,
        user: User,
        change: Change,
    },
    /// The connection ends in a moment; the client should be back after so long.
    Reconnect {
        after: Duration,
        reason: &'static str,
    },
}
