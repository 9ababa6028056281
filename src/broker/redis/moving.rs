//! Slots that move to another master while a cluster is resharded, for as long as the resharding
//! takes or is interrupted. Each key is at the old master or at the new one. A key that the old
//! master no longer has, or does not have yet, is requested from the new one (`ASK`, answered with
//! `ASKING`). Keys that one call needs and that are split over both masters are migrated, as the
//! resharding would do next: Redis offers no other way to use them.

use std::fmt::Display;

use ::redis::{Arg, Cmd, RedisConnectionInfo, RedisError};

use super::connection::server::ServerAddress;
use super::state::BrokerState;
use crate::telemetry;

/// How long a `MIGRATE` may make no progress, in milliseconds.
const MIGRATE_TIMEOUT_MILLIS: u64 = 1000;

/// The target of an `ASK`: `3999 127.0.0.1:6381`. A server that does not know the other's address
/// for clients omits the host; then it is the server's own.
pub fn target(details: &str, of: &ServerAddress) -> Option<ServerAddress> {
    let (host, port) = details.split(' ').nth(1)?.rsplit_once(':')?;
    let host = if host.is_empty() { &of.host } else { host };
    Some(ServerAddress::new(host, port.parse().ok()?))
}

/// The target of an `ASK` error.
pub fn target_of(error: &RedisError, of: &ServerAddress) -> Option<ServerAddress> {
    (error.code() == Some("ASK")).then(|| target(error.detail()?, of))?
}

/// Migrates keys of one slot to the master that the slot moves to. Redis skips missing keys.
pub fn migrate(to: &ServerAddress, login: &RedisConnectionInfo, keys: &[String]) -> Cmd {
    let mut command = ::redis::cmd("MIGRATE");
    command.arg(&*to.host).arg(to.port).arg("").arg(0).arg(MIGRATE_TIMEOUT_MILLIS);
    match (login.username(), login.password()) {
        (Some(user), Some(password)) => _ = command.arg("AUTH2").arg(user).arg(password),
        (None, Some(password)) => _ = command.arg("AUTH").arg(password),
        _ => {}
    }
    command.arg("KEYS").arg(keys);
    command
}

/// The keys that a function call declares.
pub fn keys(call: &Cmd) -> Vec<String> {
    let words = words(call);
    let count = words.get(2).and_then(|count| std::str::from_utf8(count).ok()?.parse().ok());
    let keys = words.get(3..).unwrap_or_default().iter().take(count.unwrap_or(0));
    keys.map(|key| String::from_utf8_lossy(key).into_owned()).collect()
}

/// The same call with its first key only. A master that imports a slot takes several keys only if
/// it has all of them; the functions derive the others.
pub fn with_one_key(call: &Cmd) -> Cmd {
    let keys = keys(call).len();
    let mut one = Cmd::new();
    for (at, word) in words(call).into_iter().enumerate() {
        match at {
            2 if keys > 1 => _ = one.arg(1),
            at if keys > 1 && (4..3 + keys).contains(&at) => {}
            _ => _ = one.arg(word),
        }
    }
    one
}

fn words(call: &Cmd) -> Vec<&[u8]> {
    let word = |argument| match argument {
        Arg::Simple(word) => Some(word),
        _ => None,
    };
    call.args_iter().filter_map(word).collect()
}

/// Reports that a master refuses requests for a slot that moves to it.
pub fn report_refused(state: &BrokerState, to: &ServerAddress, error: &dyn Display) {
    let why = format!("{to} refuses requests for a slot that moves there: {error}");
    telemetry::slot_is_stuck(&why);
    state.moves_fail(&why);
}

/// Reports that keys could not be migrated.
pub fn report_stuck(state: &BrokerState, to: &ServerAddress, why: &str) {
    let why = format!("its keys cannot be migrated to {to}: {why}");
    telemetry::slot_is_stuck(&why);
    state.moves_fail(&why);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(command: &Cmd) -> String {
        let words = words(command).into_iter().map(String::from_utf8_lossy);
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_ask_error_names_the_target_server() {
        let of = ServerAddress::new("10.0.0.1", 7000);
        assert_eq!(target("3999 10.0.0.2:7001", &of), Some(ServerAddress::new("10.0.0.2", 7001)));
        assert_eq!(target("3999 fd00::2:7001", &of), Some(ServerAddress::new("fd00::2", 7001)));
        assert_eq!(target("3999 :7001", &of), Some(ServerAddress::new("10.0.0.1", 7001)));
        for bad in ["", "3999", "3999 host", "3999 host:x"] {
            assert_eq!(target(bad, &of), None, "{bad}");
        }
    }

    #[test]
    fn a_call_with_several_keys_is_reduced_to_its_first_key() {
        let call = |words: &str| {
            let mut call = Cmd::new();
            words.split(' ').for_each(|word| _ = call.arg(word));
            call
        };
        let two = call("FCALL f 2 a b 2 x");
        assert_eq!(keys(&two), ["a", "b"]);
        assert_eq!(text(&with_one_key(&two)), "FCALL f 1 a 2 x");
        for other in ["FCALL f 1 a 2 x", "XRANGE a - + COUNT 2"] {
            assert_eq!(text(&with_one_key(&call(other))), other);
        }
    }

    #[test]
    fn keys_are_migrated_with_the_login_of_the_cluster() {
        let (to, keys) = (ServerAddress::new("h", 1), ["a".to_owned(), "b".to_owned()]);
        let login = RedisConnectionInfo::default();
        let begin = "MIGRATE h 1  0 1000";
        assert_eq!(text(&migrate(&to, &login, &keys)), format!("{begin} KEYS a b"));
        let login = login.set_password("p");
        assert_eq!(text(&migrate(&to, &login, &keys)), format!("{begin} AUTH p KEYS a b"));
        let login = login.set_username("u");
        assert_eq!(text(&migrate(&to, &login, &keys)), format!("{begin} AUTH2 u p KEYS a b"));
    }
}
