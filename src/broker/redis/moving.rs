//! A slot on its way to another master, as a cluster has it while it is resharded, and for as long as that is
//! broken off. Its keys are at the old master or at the new one; what is at the old one no more, or
//! nowhere yet, is asked of the new one (`ASK`, answered by `ASKING`). Keys that are needed together and
//! would be at both are moved on, as the resharding is about to: there is no other way to use them.

use std::fmt::Display;

use ::redis::{Arg, Cmd, RedisConnectionInfo, RedisError};

use super::connection::server::ServerAddress;
use super::state::BrokerState;
use crate::telemetry;

/// How long a transfer of keys may stand still, in milliseconds.
const MIGRATE_TIMEOUT_MILLIS: u64 = 1000;

/// Where an `ASK` points: `3999 127.0.0.1:6381`. A server that does not know how clients see the other leaves the
/// host out; then it is its own.
pub fn target(details: &str, of: &ServerAddress) -> Option<ServerAddress> {
    let (host, port) = details.split(' ').nth(1)?.rsplit_once(':')?;
    let host = if host.is_empty() { &of.host } else { host };
    Some(ServerAddress::new(host, port.parse().ok()?))
}

/// The same of an answer that is an error.
pub fn target_of(error: &RedisError, of: &ServerAddress) -> Option<ServerAddress> {
    (error.code() == Some("ASK")).then(|| target(error.detail()?, of))?
}

/// Moves keys of one slot on to the master that it moves to. Those that are not there are passed over.
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

/// The keys that a call of a function declares.
pub fn keys(call: &Cmd) -> Vec<String> {
    let words = words(call);
    let count = words.get(2).and_then(|count| std::str::from_utf8(count).ok()?.parse().ok());
    let keys = words.get(3..).unwrap_or_default().iter().take(count.unwrap_or(0));
    keys.map(|key| String::from_utf8_lossy(key).into_owned()).collect()
}

/// The same call with its first key alone. A master that imports a slot takes several keys only if all are there; the
/// functions find out the others.
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

/// Tells that a master does not let itself be asked for what is on its way to it.
pub fn is_refused(state: &BrokerState, to: &ServerAddress, error: &dyn Display) {
    let why = format!("{to} refuses to be asked: {error}");
    telemetry::slot_is_stuck(&why);
    state.moves_fail(&why);
}

/// Tells that keys could not be moved on.
pub fn stays(state: &BrokerState, to: &ServerAddress, why: &str) {
    let why = format!("its keys cannot be moved on to {to}: {why}");
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
    fn an_ask_points_at_a_server() {
        let of = ServerAddress::new("10.0.0.1", 7000);
        assert_eq!(target("3999 10.0.0.2:7001", &of), Some(ServerAddress::new("10.0.0.2", 7001)));
        assert_eq!(target("3999 fd00::2:7001", &of), Some(ServerAddress::new("fd00::2", 7001)));
        assert_eq!(target("3999 :7001", &of), Some(ServerAddress::new("10.0.0.1", 7001)));
        for bad in ["", "3999", "3999 host", "3999 host:x"] {
            assert_eq!(target(bad, &of), None, "{bad}");
        }
    }

    #[test]
    fn a_call_of_several_keys_is_made_one_of_its_first() {
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
    fn keys_are_moved_on_with_the_login_of_the_cluster() {
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
