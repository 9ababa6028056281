//! Revocations in Redis: one sorted set, the calls that write and read it, and the messages that
//! tell of new ones. No I/O.

use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, ParsingError, Value};

use crate::broker::revocation::{REVOCATIONS_MAX, Revocation};
use crate::publication::Channel;

/// Most revocations read in one command, a fraction of a millisecond of Redis' time.
pub const PAGE_MAX: usize = 1000;

/// Most revocations written in one call, which takes Redis a millisecond or two.
pub const WRITES_MAX: usize = 250;

/// The Redis channel on which revocations are told, and the key that keeps them.
pub fn channel() -> Channel {
    Channel::internal(NAME)
}

/// Is it the channel's name, without the prefix?
pub fn is_channel(name: &str) -> bool {
    name == NAME
}

const NAME: &str = "revoked users";

/// Writes up to [`WRITES_MAX`] and publishes those that are new. `publish`: the command for that.
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

/// Reads the page of this number, latest first. Answered by what [`page`] reads.
///
/// By rank from the top: what is added or renewed meanwhile moves the rest down, so a later page may
/// have some of the one before, but nothing is passed over.
pub fn read(key: &str, number: usize) -> Cmd {
    let first = number * PAGE_MAX;
    let mut call = ::redis::cmd("ZRANGE");
    call.arg(key).arg(first).arg(first + PAGE_MAX - 1).arg("REV").arg("WITHSCORES");
    call
}

/// Users and times of a page, latest first.
pub fn page(answer: Value) -> Result<Vec<(String, u64)>, ParsingError> {
    let entries = <Vec<(Vec<u8>, f64)>>::from_redis_value(answer)?;
    // A name that is no text is nobody's.
    let entry =
        |(user, before): (Vec<u8>, f64)| Some((String::from_utf8(user).ok()?, before as u64));
    Ok(entries.into_iter().filter_map(entry).collect())
}

/// What a message on the channel says: user and time. None: nothing that the function wrote.
pub fn told(message: &[u8]) -> Option<(&str, u64)> {
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
    fn calls_name_the_one_key() {
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
    fn pages_are_read_in_the_forms_of_both_protocols() {
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
    fn messages_are_read_and_what_is_none_is_left() {
        assert_eq!(told(b"1763735000123 a b"), Some(("a b", 1_763_735_000_123)));
        for other in [&b""[..], b"5", b"ada 5", b"-5 ada", b"5 \xff"] {
            assert_eq!(told(other), None);
        }
    }
}
