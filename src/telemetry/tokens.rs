//! Issuers' keys, and revoked tokens.

use std::fmt::Display;

use super::metrics::METRICS;

/// An issuer's keys were fetched: for the first time, changed, or after failures.
pub fn jwks_fetched(address: &dyn Display, keys: usize) {
    tracing::info!(%address, keys, "keys fetched");
}

/// An issuer's keys could not be fetched. `first`: the previous fetch succeeded.
pub fn jwks_failed(address: &dyn Display, why: &dyn Display, first: bool) {
    match first {
        true => {
            tracing::warn!(%address, %why, "keys cannot be fetched; the current keys stay valid");
        }
        false => tracing::debug!(%address, %why, "keys cannot be fetched"),
    }
}

/// An issuer's keys are no longer accepted, because they could not be fetched for too long.
pub fn jwks_stale(address: &dyn Display) {
    tracing::error!(%address, "keys were not fetched for a day; tokens signed with them are refused");
}

/// A request ended a user's sessions, of which this node had this many.
pub fn user_disconnected(sessions: usize) {
    tracing::info!(sessions, "a user was disconnected and its tokens revoked");
}

/// The number of users with revoked tokens.
pub fn revocations_known(count: usize) {
    METRICS.connections.revocations.set(count as i64);
}

/// There are more revocations than the node keeps.
pub fn revocations_dropped(max: usize) {
    tracing::warn!(max, "too many users were disconnected: the oldest revocations are dropped");
}
