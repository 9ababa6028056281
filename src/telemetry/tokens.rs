//! The issuers' keys, and tokens that are revoked.

use std::fmt::Display;

use super::metrics::METRICS;

/// An issuer's keys were fetched: for the first time, others than before, or again at last.
pub fn jwks_fetched(address: &dyn Display, keys: usize) {
    tracing::info!(%address, keys, "keys fetched");
}

/// An issuer's keys could not be fetched. `first`: the last time they could.
pub fn jwks_failed(address: &dyn Display, why: &dyn Display, first: bool) {
    match first {
        true => tracing::warn!(%address, %why, "keys cannot be fetched; those there are count on"),
        false => tracing::debug!(%address, %why, "keys cannot be fetched"),
    }
}

/// An issuer's keys could not be fetched for so long that they no longer count.
pub fn jwks_stale(address: &dyn Display) {
    tracing::error!(%address, "keys were not fetched for a day; tokens signed with them are refused");
}

/// Somebody asked for a user's sessions to be ended, of which so many were on this node.
pub fn user_disconnected(sessions: usize) {
    tracing::info!(sessions, "a user was disconnected and its tokens revoked");
}

/// So many users have tokens that are refused.
pub fn revocations_known(count: usize) {
    METRICS.connections.revocations.set(count as i64);
}

/// There are more revocations than are kept.
pub fn revocations_dropped(max: usize) {
    tracing::warn!(max, "too many users were disconnected: the oldest revocations are forgotten");
}
