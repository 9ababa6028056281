//! Settings and files: what took effect, what was refused, and warnings for operators.

use std::fmt::Display;

use super::metrics::METRICS;
use super::metrics::settings::{REFUSED, REPLACED, TAKEN_UP};
use crate::settings::ListenAddress;

/// New settings are in force. `fixed`: changed keys that need a restart.
pub fn reloaded(why: &str, changed: &[String], fixed: &[String]) {
    METRICS.settings.reloads.with_label_values(&[TAKEN_UP]).inc();
    METRICS.settings.refused.set(0);
    tracing::info!(why, changed = changed.join(", "), "configuration reloaded");
    if !fixed.is_empty() {
        tracing::warn!(keys = fixed.join(", "), "these keys have changed and need a restart");
    }
}

/// The most lines per reload about widened access.
const WIDENED_MAX: usize = 20;

/// New settings widen access. Logged before they take effect, because a truncated file may be the cause and an
/// operator should check.
pub fn access_widened(widened: &[String]) {
    for what in widened.iter().take(WIDENED_MAX) {
        tracing::warn!(what, "the new configuration widens access");
    }
    if let Some(more @ 1..) = widened.len().checked_sub(WIDENED_MAX) {
        tracing::warn!(more, "the new configuration widens access in more ways");
    }
}

/// New settings have faults; the old ones stay in force.
pub fn reload_refused(why: &str, faults: &dyn Display) {
    METRICS.settings.refused.set(1);
    METRICS.settings.reloads.with_label_values(&[REFUSED]).inc();
    tracing::error!(why, %faults, "the new configuration is refused; the old one stays in force");
}

/// A name looks like a setting and is not one.
pub fn setting_ignored(what: &dyn Display) {
    tracing::warn!(%what, "ignored: not a setting");
}

/// Rules require tokens, but tokens are switched off.
pub fn tokens_are_off() {
    tracing::warn!("rules are for users or tokens, and auth.mode is none: no client can use them");
}

/// Every client that reaches the internal listener can publish.
pub fn internal_is_open(listen: ListenAddress) {
    tracing::warn!(%listen, "internal.listen is beyond loopback and internal.api_key is not set");
}

/// A secret that can be guessed: RFC 7518 requires 32 bytes for HS256.
pub fn secret_is_short(kid: Option<&str>) {
    tracing::warn!(kid, "a secret of auth.keys has fewer than 32 bytes");
}

/// An issuer's keys are fetched over plain `http` from another host.
pub fn jwks_is_exposed(address: &str) {
    tracing::warn!(
        address,
        "auth.keys has an http address: an attacker on the network path can replace its keys and forge tokens; use https"
    );
}

/// `limits.connections_max` exceeds the open-file limit.
pub fn connections_max_is_cut(connections_max: usize, places: usize, reserved: usize) {
    let open_files = connections_max.saturating_add(reserved);
    tracing::warn!(
        connections_max,
        places,
        "limits.connections_max is beyond the open-file limit; clients beyond the available places are \
         answered 503: raise the hard limit to {open_files} open files, or lower limits.connections_max"
    );
}

/// A listener's certificate, key or client authorities changed; new connections use them.
pub fn certificate_replaced(listener: &str) {
    METRICS.settings.tls_reloads.with_label_values(&[REPLACED]).inc();
    tracing::info!(listener, "new TLS files are in use");
}

/// The changed files cannot be used; the previous ones stay in use.
pub fn certificate_refused(listener: &str, why: &dyn Display) {
    METRICS.settings.tls_files_refused.with_label_values(&[listener]).set(1);
    METRICS.settings.tls_reloads.with_label_values(&[REFUSED]).inc();
    tracing::error!(listener, %why, "new TLS files cannot be used; the previous ones stay in use");
}

/// The files are valid, or the listener has none.
pub fn certificate_valid(listener: &str) {
    METRICS.settings.tls_files_refused.with_label_values(&[listener]).set(0);
}
