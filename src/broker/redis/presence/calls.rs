//! Presence in Redis: the calls of its functions (`presence.lua`), their replies, and the messages
//! for joins and leaves. No I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, ParsingError, Value};
use serde::Deserialize;

use crate::broker::presence::{Attendance, MEMBERS_MAX, MembershipState, Renewal};
use crate::broker::redis::sibling_key::sibling_key;
use crate::publication::{Change, Channel, Member, Members, NodeId, User};

/// Maximum number of renewals of one channel in a row while members of dead nodes remain. Beyond it
/// the next node's renewal continues.
pub const ROUNDS_MAX: usize = 100;

const KIND: &str = "presence";

/// Builds the calls of one node.
#[derive(Clone, Debug)]
pub struct PresenceCalls {
    prefix: Arc<str>,
    node: String,
    publish: &'static str,
}

impl PresenceCalls {
    /// `publish`: the command that publishes joins and leaves: `PUBLISH`, or `SPUBLISH` on a
    /// cluster.
    pub fn new(prefix: Arc<str>, node: NodeId, publish: &'static str) -> Self {
        Self { prefix, node: node.to_string(), publish }
    }

    /// The channel's presence key, which is also the Redis channel of its joins and leaves.
    pub fn key(&self, channel: &str) -> String {
        sibling_key(&self.prefix, KIND, &format!("{}{channel}", self.prefix))
    }

    /// The channel whose joins and leaves this Redis channel (without the prefix) carries. `None`:
    /// it carries something else.
    pub fn channel_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name.strip_prefix(KIND)?;
        let (tag, channel) = rest.rsplit_once(' ')?;
        (tag.starts_with(" {") && tag.ends_with('}')).then_some(channel)
    }

    /// [`membership_state`] reads the reply.
    pub fn write(&self, ttl: Duration, attendance: &Attendance) -> Cmd {
        let mut call = self.call("tidegate_presence_update", &attendance.channel, ttl);
        call.arg(u8::from(attendance.announce));
        for member in &attendance.members {
            call.arg(field(&member.user)).arg(member.sessions);
        }
        call
    }

    /// [`renewed`] reads the reply.
    pub fn renew(&self, ttl: Duration, renewal: &Renewal) -> Cmd {
        let mut call = self.call("tidegate_presence_refresh", &renewal.channel, ttl);
        let members = renewal.members.and_then(|members| i64::try_from(members).ok());
        call.arg(members.unwrap_or(-1));
        call
    }

    /// [`members`] reads the reply.
    pub fn members(&self, channel: &Channel) -> Cmd {
        let mut call = ::redis::cmd("FCALL");
        call.arg("tidegate_presence_members").arg(1).arg(self.key(channel.as_str()));
        call.arg(MEMBERS_MAX);
        call
    }

    fn call(&self, function: &str, channel: &Channel, ttl: Duration) -> Cmd {
        let key = self.key(channel.as_str());
        let own = format!("{key} {}", self.node);
        let mut call = ::redis::cmd("FCALL");
        call.arg(function).arg(2).arg(key).arg(own).arg(&self.node);
        call.arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)).arg(self.publish);
        call
    }
}

/// Whether it is the key that lists a channel's nodes.
pub fn is_key(prefix: &str, key: &str) -> bool {
    key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(&format!("{KIND} {{")))
}

/// The reply to a write.
pub fn membership_state(answer: Value) -> Result<MembershipState, ParsingError> {
    match String::from_redis_value(answer)?.as_str() {
        "known" => Ok(MembershipState::Known),
        "forgotten" => Ok(MembershipState::Forgotten),
        "removed" => Ok(MembershipState::Removed),
        _ => Err("not a membership state".into()),
    }
}

/// The reply to a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    pub state: MembershipState,
    /// Members of dead nodes remain: renew again, at most [`ROUNDS_MAX`] times.
    pub more: bool,
}

pub fn renewed(answer: Value) -> Result<Renewed, ParsingError> {
    let (state, more) = FromRedisValue::from_redis_value(answer)?;
    Ok(Renewed { state: membership_state(state)?, more })
}

/// The reply with a channel's members. It has each node's members, which are summed here to save
/// Redis the work.
pub fn members(answer: Value) -> Result<Members, ParsingError> {
    let (truncated, nodes) = <(bool, Vec<Fields>)>::from_redis_value(answer)?;
    let mut sums: BTreeMap<User, u32> = BTreeMap::new();
    for (field, sessions) in nodes.into_iter().flatten() {
        // A field that no node wrote is no user.
        let Some(user) = user(&field) else { continue };
        let sum = sums.entry(user).or_default();
        *sum = sum.saturating_add(sessions);
    }
    let list = sums.into_iter().map(|(user, sessions)| Member { user, sessions }).collect();
    Ok(Members { list, truncated })
}

/// A node's members, as in its hash.
type Fields = Vec<(Vec<u8>, u32)>;

/// A user as a hash field: `=name`, and `-` for none, which differs from the empty name.
fn field(user: &User) -> String {
    user.as_deref().map_or_else(|| "-".to_owned(), |name| format!("={name}"))
}

fn user(field: &[u8]) -> Option<User> {
    match std::str::from_utf8(field).ok()? {
        "-" => Some(None),
        field => field.strip_prefix('=').map(|name| Some(name.into())),
    }
}

/// Reads a message of joins and leaves. `None`: no node wrote it.
pub fn read_change(message: &[u8]) -> Option<(User, Change)> {
    #[derive(Deserialize)]
    struct ChangeMessage {
        change: ChangeKind,
        user: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum ChangeKind {
        Join,
        Leave,
    }
    let message: ChangeMessage = serde_json::from_slice(message).ok()?;
    let change = match message.change {
        ChangeKind::Join => Change::Join,
        ChangeKind::Leave => Change::Leave,
    };
    Some((message.user.map(Into::into), change))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls() -> PresenceCalls {
        PresenceCalls::new("tidegate:".into(), NodeId::random(), "PUBLISH")
    }

    fn words(call: &Cmd) -> Vec<String> {
        let word = |argument: ::redis::Arg<&[u8]>| match argument {
            ::redis::Arg::Simple(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        };
        call.args_iter().map(word).collect()
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn member(user: Option<&str>, sessions: u32) -> Member {
        Member { user: user.map(Into::into), sessions }
    }

    #[test]
    fn a_presence_write_declares_both_keys_and_distinguishes_no_user_from_an_empty_name() {
        let (calls, channel) = (calls(), Channel::new("news").unwrap());
        let members = vec![member(None, 2), member(Some(""), 1), member(Some("ada"), 0)];
        let attendance = Attendance { channel, members, announce: true };
        let (key, node) = ("tidegate:presence {tidegate:news} news", &calls.node);
        let call = calls.write(Duration::from_secs(30), &attendance);
        let expected = format!(
            "FCALL|tidegate_presence_update|2|{key}|{key} {node}|{node}|30000|PUBLISH|1|-|2|=|1|=ada|0"
        );
        assert_eq!(words(&call).join("|"), expected);
        let renewal = Renewal { channel: attendance.channel, members: Some(2) };
        let call = calls.renew(Duration::from_secs(3), &renewal);
        let expected =
            format!("FCALL|tidegate_presence_refresh|2|{key}|{key} {node}|{node}|3000|PUBLISH|2");
        assert_eq!(words(&call).join("|"), expected);
    }

    #[test]
    fn a_presence_channel_name_yields_its_channel() {
        let calls = calls();
        for channel in ["news", "{a}x", "a}b", "{}", "a{b"] {
            let key = calls.key(channel);
            assert_eq!(calls.channel_of(key.strip_prefix("tidegate:").unwrap()), Some(channel));
        }
        for other in ["news", "presence", "probe x", "presence a", "presences {a} a"] {
            assert_eq!(calls.channel_of(other), None, "{other}");
        }
    }

    #[test]
    fn membership_states_are_read_and_other_replies_are_errors() {
        assert_eq!(membership_state(bulk("known")).unwrap(), MembershipState::Known);
        assert_eq!(membership_state(bulk("removed")).unwrap(), MembershipState::Removed);
        assert!(membership_state(bulk("elsewhere")).is_err());
        let answer = Value::Array(vec![bulk("forgotten"), Value::Int(1)]);
        let expected = Renewed { state: MembershipState::Forgotten, more: true };
        assert_eq!(renewed(answer).unwrap(), expected);
        assert!(renewed(Value::Nil).is_err());
    }

    #[test]
    fn a_users_sessions_are_summed_over_the_nodes() {
        let node = |pairs: &[(&str, &str)]| {
            let flat = pairs.iter().flat_map(|(user, sessions)| [bulk(user), bulk(sessions)]);
            Value::Array(flat.collect())
        };
        let nodes = vec![
            node(&[("=bo", "1"), ("-", "2"), ("nobody's", "1")]),
            node(&[("=", "1"), ("=bo", "3")]),
            node(&[]),
        ];
        let read = members(Value::Array(vec![Value::Int(0), Value::Array(nodes)])).unwrap();
        assert_eq!(read.list, [member(None, 2), member(Some(""), 1), member(Some("bo"), 4)]);
        assert!(!read.truncated);
        assert!(members(bulk("OK")).is_err());
    }

    #[test]
    fn join_and_leave_messages_are_read_and_other_messages_are_ignored() {
        assert_eq!(
            read_change(br#"{"user":"a\/b","change":"join"}"#),
            Some((Some("a/b".into()), Change::Join))
        );
        assert_eq!(read_change(br#"{"change":"leave","user":null}"#), Some((None, Change::Leave)));
        for other in [&b""[..], b"{}", b"\xff", br#"{"change":"went","user":"a"}"#] {
            assert_eq!(read_change(other), None);
        }
    }
}
