//! The messages that a node sends without a command, besides publications.

use std::time::Duration;

use crate::publication::{Change, EndReason, Position, User, UserInfo};

/// A message of the node that is not a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push<'a> {
    Welcome {
        session: String,
        node: String,
        ping_interval_ms: u64,
    },
    /// Publications of the channel before this message may be missing.
    Gap {
        channel: &'a str,
        reason: &'static str,
    },
    /// Publications of any channel of the pattern before this message may be missing.
    PatternGap {
        pattern: &'a str,
        reason: &'static str,
    },
    /// The run on the channel has ended: nothing follows.
    Ended {
        channel: &'a str,
        reason: &'a EndReason,
        position: Option<Position>,
    },
    /// A user joined the channel or left it.
    Presence {
        channel: &'a str,
        user: User,
        change: Change,
        /// What the token says of a user who joins.
        info: Option<UserInfo>,
    },
    /// The connection is about to end; the client should reconnect after this delay.
    Reconnect {
        after: Duration,
        reason: &'static str,
    },
}
