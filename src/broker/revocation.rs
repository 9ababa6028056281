//! The broker's part in disconnecting users: it keeps until when each user's tokens are revoked, and
//! tells all nodes, those too that start later or were cut off.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::broker::unavailable::Unavailable;

/// Most revocations the broker keeps. Beyond it the oldest give way.
pub const REVOCATIONS_MAX: usize = 1 << 18;

/// Most revocations that a node is handing to the broker at a time, each of one user.
pub const REVOKING_MAX: usize = 256;

/// A user whose tokens issued until a moment are worth nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub user: Arc<str>,
    /// Unix milliseconds.
    pub before: u64,
    /// How long it is kept.
    pub keep: Duration,
}

/// What is known of revocations: user to the moment, in Unix milliseconds.
pub type KnownRevocations = HashMap<Arc<str>, u64>;

/// Keeps revocations. Each becomes an [`Event::Revoked`](super::event::BrokerEvent::Revoked) on every node, when
/// it is made and again whenever the node has come (back) to the broker.
pub trait Revoking {
    /// Keeps the revocation and tells every node; the latest time of a user counts. `Unavailable`: it
    /// may have been kept all the same, or [`REVOKING_MAX`] are under way.
    ///
    /// Answers within a few seconds, whatever the broker does.
    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<(), Unavailable>>;
}
