//! The revocation interface of a broker: it stores until when each user's tokens are revoked and
//! notifies all nodes, also those that start or reconnect later.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::broker::unavailable::Unavailable;

/// Maximum number of stored revocations. Beyond it the oldest are removed.
pub const REVOCATIONS_MAX: usize = 1 << 18;

/// Maximum number of concurrent `revoke` calls of a node, each for one user.
pub const REVOKING_MAX: usize = 256;

/// Revokes a user's tokens that were issued until a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub user: Arc<str>,
    /// Unix milliseconds.
    pub before: u64,
    /// How long the revocation is stored.
    pub keep: Duration,
}

/// Known revocations: user to the moment, in Unix milliseconds.
pub type KnownRevocations = HashMap<Arc<str>, u64>;

/// Stores revocations. Each becomes a [`BrokerEvent::Revoked`](super::event::BrokerEvent::Revoked)
/// on every node when it is made, and again whenever the node connects to the broker.
pub trait Revoking {
    /// Stores the revocation and notifies every node; the latest moment of a user counts.
    /// `Unavailable`: it may have been stored, or [`REVOKING_MAX`] calls are running.
    ///
    /// Returns within a few seconds, whatever the broker does.
    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<(), Unavailable>>;
}
