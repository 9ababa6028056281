//! Settings and files: what is in force, what was refused, and what an operator should look at.

use std::fmt::Display;

use super::metrics::METRICS;
use super::metrics::settings::{REFUSED, REPLACED, TAKEN_UP};
use crate::settings::ListenAddress;

/// New settings are in force. `fixed`: keys that have changed and need a restart.
pub fn reloaded(why: &str, changed: &[String], fixed: &[String]) {
    METRICS.settings.reloads.with_label_values(&[TAKEN_UP]).inc();
    METRICS.settings.refused.set(0);
    tracing::info!(why, changed = changed.join(", "), "configuration reloaded");
    if !fixed.is_empty() {
        tracing::warn!(keys = fixed.join(", "), "these keys have changed and need a restart");
    }
}

/// Most lines of one reload that say what was widened.
const WIDENED_MAX: usize = 20;

/// New settings let more people do something than the old ones. Said before they are in force: a file that
/// was cut short may do so, and whoever reads the log should look.
pub fn rights_widened(widened: &[String]) {
    for what in widened.iter().take(WIDENED_MAX) {
        tracing::warn!(what, "the new configuration lets more people in");
    }
    if let Some(more @ 1..) = widened.len().checked_sub(WIDENED_MAX) {
        tracing::warn!(more, "the new configuration lets more people in, in so many ways more");
    }
}

/// New settings have faults; the old ones go on.
pub fn reload_refused(why: &str, faults: &dyn Display) {
    METRICS.settings.refused.set(1);
    METRICS.settings.reloads.with_label_values(&[REFUSED]).inc();
    tracing::error!(why, %faults, "the new configuration is refused; the old one goes on");
}

/// Something was written as if it were a setting, and is none.
pub fn setting_ignored(what: &dyn Display) {
    tracing::warn!(%what, "ignored: no setting");
}

/// Rules ask for tokens that nobody can have.
pub fn tokens_are_off() {
    tracing::warn!("rules are for users or tokens, and auth.mode is none: nobody can use them");
}

/// Whoever reaches the internal listener can publish.
pub fn internal_is_open(listen: ListenAddress) {
    tracing::warn!(%listen, "internal.listen is beyond loopback and internal.api_key is not set");
}

/// A secret that could be guessed: RFC 7518 wants 32 bytes for HS256.
pub fn secret_is_short(kid: Option<&str>) {
    tracing::warn!(kid, "a secret of auth.keys has less than 32 bytes");
}

/// An issuer's keys come over plain `http` from another host.
pub fn jwks_is_exposed(address: &str) {
    tracing::warn!(
        address,
        "the keys of auth.keys come over http: whoever can exchange them on the way makes tokens; use https"
    );
}

/// More connections are allowed than there are files for.
pub fn connections_max_is_cut(connections_max: usize, places: usize, reserved: usize) {
    let open_files = connections_max.saturating_add(reserved);
    tracing::warn!(
        connections_max,
        places,
        "limits.connections_max is beyond the open-file limit; more clients than there are places for are \
         answered 503: raise the hard limit to {open_files} open files, or lower limits.connections_max"
    );
}

/// A listener's certificate, key or client authorities have changed; new connections get them.
pub fn certificate_replaced(listener: &str) {
    METRICS.settings.tls_reloads.with_label_values(&[REPLACED]).inc();
    tracing::info!(listener, "new TLS files are in use");
}

/// They have changed to what cannot be used; those from before stay in use.
pub fn certificate_refused(listener: &str, why: &dyn Display) {
    METRICS.settings.tls_files_refused.with_label_values(&[listener]).set(1);
    METRICS.settings.tls_reloads.with_label_values(&[REFUSED]).inc();
    tracing::error!(listener, %why, "new TLS files cannot be used; those from before stay in use");
}

/// They are as they should be, or there are none.
pub fn certificate_well(listener: &str) {
    METRICS.settings.tls_files_refused.with_label_values(&[listener]).set(0);
}
