//! The events that the broker hands to the hub.

use std::sync::Arc;

use super::announcement::Announcement;
use super::revocation::{KnownRevocations, Revocation};
use crate::publication::{Change, Channel, Publication, User, UserInfo};

/// An event from the broker to the hub. The sink must not block.
#[derive(Debug)]
pub enum BrokerEvent<'a> {
    /// The subscription is live from here on. `interrupted`: it was live before and publications
    /// were missed in between, for this reason.
    Subscribed { channel: &'a Channel, interrupted: Option<&'static str> },
    Publication {
        channel: &'a str,
        publication: Publication,
        /// More events follow immediately, so the hub may delay the socket write.
        more: bool,
    },
    /// A publication of the channel was missed, though the subscription is live.
    Gap { channel: &'a Channel, reason: &'static str },
    /// Publications of any channel under the followed patterns may have been missed, for this reason. Those that come
    /// after this event are delivered.
    PatternsInterrupted { reason: &'static str },
    /// A user's first session in the whole fleet joined the channel, or the last one left. `info`: what the
    /// token says of a user who joins.
    Presence { channel: &'a str, user: User, change: Change, info: Option<UserInfo> },
    /// The user's tokens issued until `before`, in Unix milliseconds, are revoked. May repeat, and
    /// comes from other tasks than the other events.
    Revoked { user: &'a str, before: u64 },
    /// The broker has read all stored revocations. The hub adds those that the broker lost to
    /// `missing`; the broker stores them again.
    RevocationsRead { known: &'a KnownRevocations, missing: &'a mut Vec<Revocation> },
    /// A node's announcement; a node also receives its own. Comes from other tasks than the other
    /// events.
    Announced(Announcement),
}

/// Receives the broker's events: one at a time for each channel, and joins and leaves one at a time
/// among themselves.
pub type Sink = Arc<dyn Fn(BrokerEvent<'_>) + Send + Sync>;
