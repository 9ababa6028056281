//! What the broker hands to the hub.

use std::sync::Arc;

use super::announcement::Announcement;
use super::revocation::{KnownRevocations, Revocation};
use crate::publication::{Change, Channel, Publication, User};

/// What the broker hands to the hub. Whoever takes it must not block.
#[derive(Debug)]
pub enum BrokerEvent<'a> {
    /// The channel flows from here on. `interrupted`: it did before, and publications of the
    /// meantime were missed, for this reason.
    Subscribed { channel: &'a Channel, interrupted: Option<&'static str> },
    Publication {
        channel: &'a str,
        publication: Publication,
        /// Does more follow at once? Then it is not worth a write of its own yet.
        more: bool,
    },
    /// A publication of the channel was missed though it flows on.
    Gap { channel: &'a Channel, reason: &'static str },
    /// A user came to the channel's first session of the fleet, or left its last.
    Presence { channel: &'a str, user: User, change: Change },
    /// The user's tokens issued until `before`, in Unix milliseconds, are revoked. Comes more than
    /// once, and from other tasks than the rest.
    Revoked { user: &'a str, before: u64 },
    /// The broker has read all revocations it keeps. What it has forgotten goes into `missing`, and
    /// is kept again.
    RevocationsRead { known: &'a KnownRevocations, missing: &'a mut Vec<Revocation> },
    /// A node has told of itself; this one's own words come back too. From other tasks than the rest.
    Announced(Announcement),
}

/// Takes the broker's events, one at a time for each channel; joins and leaves one at a time among
/// themselves.
pub type Sink = Arc<dyn Fn(BrokerEvent<'_>) + Send + Sync>;
