//! Revocations in Redis: one sorted set, the calls that write and read it, and the messages for new
//! ones. No I/O.

use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, ParsingError, Value};

use crate::broker::revocation::{REVOCATIONS_MAX, Revocation};
use crate::publication::Channel;

/// Maximum number of revocations read in one command, which takes Redis a fraction of a
/// millisecond.
pub const PAGE_MAX: usize = 1000;

/// Maximum number of revocations written in one call, which takes Redis one or two milliseconds.
pub const WRITES_MAX: usize = 250;

/// The Redis channel of revocations, which is also the key that stores them.
pub fn channel() -> Channel {
    Channel::internal(NAME)
}

/// Whether this is the channel's name, without the prefix.
pub fn is_channel(name: &str) -> bool {
    name == NAME
}

const NAME: &str = "revoked users";

/// Writes up to [`WRITES_MAX`] revocations and publishes those that are new. `publish`: the command
/// that publishes.
pub fn write(key: &str, publish: &str, revocations: &[Revocation]) -> Cmd {
    let keep = revocations.iter().map(|it| it.keep).max().unwrap_or(Duration::ZERO);
    let mut call = ::redis::cmd("FCALL");
    call.arg("tidegate_revoke").arg(1).arg(key);
    call.arg(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX)).arg(REVOCATIONS_MAX).arg(publish);
    for Revocation { user, before, .. } in revocations {
        call.arg(&**user).arg(before);
    }
    call
}

/// Reads the page with this number, latest first. [`page`] reads the reply.
///
/// Pages are counted by rank from the latest. Entries that are added or renewed meanwhile shift the
/// rest down, so a page may repeat entries of the one before, but none is missed.
pub fn read(key: &str, number: usize) -> Cmd {
    let first = number * PAGE_MAX;
    let mut call = ::redis::cmd("ZRANGE");
    call.arg(key).arg(first).arg(first + PAGE_MAX - 1).arg("REV").arg("WITHSCORES");
    call
}

/// Users and times of a page, latest first.
pub fn page(answer: Value) -> Result<Vec<(String, u64)>, ParsingError> {
    let entries = <Vec<(Vec<u8>, f64)>>::from_redis_value(answer)?;
    // A name that is not text is no user's.
    let entry =
        |(user, before): (Vec<u8>, f64)| Some((String::from_utf8(user).ok()?, before as u64));
    Ok(entries.into_iter().filter_map(entry).collect())
}

/// Reads a message: user and time. `None`: the function did not write it.
pub fn read_message(message: &[u8]) -> Option<(&str, u64)> {
    let (before, user) = std::str::from_utf8(message).ok()?.split_once(' ')?;
    Some((user, before.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(call: &Cmd) -> String {
        let word = |argument: ::redis::Arg<&[u8]>| match argument {
            ::redis::Arg::Simple(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        };
        call.args_iter().map(word).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn revocation_calls_declare_their_one_key() {
        let revocation = |user: &str, before, keep| Revocation {
            user: user.into(),
            before,
            keep: Duration::from_secs(keep),
        };
        let some = [revocation("ada", 1000, 7), revocation("b o", 2000, 9)];
        let expected =
            format!("FCALL|tidegate_revoke|1|t:k|9000|{REVOCATIONS_MAX}|PUBLISH|ada|1000|b o|2000");
        assert_eq!(words(&write("t:k", "PUBLISH", &some)), expected);
        assert_eq!(words(&read("t:k", 2)), "ZRANGE|t:k|2000|2999|REV|WITHSCORES");
    }

    #[test]
    fn revocation_pages_are_read_in_resp2_and_resp3() {
        let bulk = |text: &str| Value::BulkString(text.into());
        let flat = Value::Array(vec![bulk("ada"), bulk("1763735000123"), bulk("b o"), bulk("5")]);
        let expected = [("ada".to_owned(), 1_763_735_000_123), ("b o".to_owned(), 5)];
        assert_eq!(page(flat).unwrap(), expected);
        let pair = |user: &str, before| Value::Array(vec![bulk(user), Value::Double(before)]);
        let pairs = vec![pair("ada", 1_763_735_000_123.), pair("b o", 5.)];
        assert_eq!(page(Value::Array(pairs)).unwrap(), expected);
        let foreign = Value::Array(vec![Value::BulkString(vec![0xff]), bulk("5")]);
        assert_eq!(page(foreign).unwrap(), []);
        assert!(page(bulk("OK")).is_err());
    }

    #[test]
    fn revocation_messages_are_read_and_other_messages_are_ignored() {
        assert_eq!(read_message(b"1763735000123 a b"), Some(("a b", 1_763_735_000_123)));
        for other in [&b""[..], b"5", b"ada 5", b"-5 ada", b"5 \xff"] {
            assert_eq!(read_message(other), None);
        }
    }
}
