//! Presence in Redis: the calls of its functions (`presence.lua`), their replies, and the messages
//! for joins and leaves. No I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, ParsingError, Value};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::broker::presence::{Attendance, MEMBERS_MAX, MembershipState, Renewal};
use crate::broker::redis::sibling_key::sibling_key;
use crate::publication::{Change, Channel, Member, Members, NodeId, User, UserInfo};

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
        let mut call = self.call("tidegate_presence_write", &attendance.channel, ttl);
        call.arg(u8::from(attendance.announce));
        for Member { user, sessions, info } in &attendance.members {
            call.arg(field(user)).arg(sessions);
            match info {
                Some(info) => call.arg(format!("{} {}", info.issued_at(), info.json())),
                None => call.arg(""),
            };
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
        call.arg("tidegate_presence_list").arg(1).arg(self.key(channel.as_str()));
        call.arg(MEMBERS_MAX).arg(UserInfo::LIST_BYTES_MAX);
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
    let mut sums: BTreeMap<User, (u32, Option<UserInfo>)> = BTreeMap::new();
    for (field, value) in nodes.into_iter().flatten() {
        // A field that no node wrote is no user.
        let Some(user) = user(&field) else { continue };
        let (sessions, info) = sessions_and_info(&value);
        let sum = sums.entry(user).or_default();
        sum.0 = sum.0.saturating_add(sessions.parse().map_err(|_| "not a number of sessions")?);
        sum.1 = UserInfo::newer(sum.1.take(), info);
    }
    let member = |(user, (sessions, info))| Member { user, sessions, info };
    Ok(Members { list: sums.into_iter().map(member).collect(), truncated })
}

/// A node's members, as in its hash.
type Fields = Vec<(Vec<u8>, String)>;

/// The value of a field: `2`, or `2 <milliseconds> {…}`.
fn sessions_and_info(value: &str) -> (&str, Option<UserInfo>) {
    let Some((sessions, info)) = value.split_once(' ') else { return (value, None) };
    let read = |info: &str| {
        let (issued_at, json) = info.split_once(' ')?;
        UserInfo::new(json, issued_at.parse().ok()?)
    };
    (sessions, read(info))
}

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

/// A join or a leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserChange {
    pub user: User,
    pub change: Change,
    pub info: Option<UserInfo>,
}

/// Reads a message of joins and leaves. `None`: no node wrote it.
pub fn read_change(message: &[u8]) -> Option<UserChange> {
    #[derive(Deserialize)]
    struct ChangeMessage<'a> {
        change: ChangeKind,
        user: Option<String>,
        #[serde(borrow)]
        info: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum ChangeKind {
        Join,
        Leave,
    }
    let message: ChangeMessage<'_> = serde_json::from_slice(message).ok()?;
    let change = match message.change {
        ChangeKind::Join => Change::Join,
        ChangeKind::Leave => Change::Leave,
    };
    let info = message.info.and_then(|info| UserInfo::new(info.get(), 0));
    Some(UserChange { user: message.user.map(Into::into), change, info })
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
        Member { user: user.map(Into::into), sessions, info: None }
    }

    #[test]
    fn a_presence_write_declares_both_keys_and_distinguishes_no_user_from_an_empty_name() {
        let (calls, channel) = (calls(), Channel::new("news").unwrap());
        let info = UserInfo::new(r#"{"a": 1}"#, 5);
        let bo = Member { info, ..member(Some("bo"), 1) };
        let members = vec![member(None, 2), member(Some(""), 1), member(Some("ada"), 0), bo];
        let attendance = Attendance { channel, members, announce: true };
        let (key, node) = ("tidegate:presence {tidegate:news} news", &calls.node);
        let call = calls.write(Duration::from_secs(30), &attendance);
        let expected = format!(
            "FCALL|tidegate_presence_write|2|{key}|{key} {node}|{node}|30000|PUBLISH|1|-|2||=|1||=ada|0||=bo|1|5 {{\"a\": 1}}"
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
    fn the_info_of_the_newest_token_is_shown_whichever_node_wrote_it() {
        let info = |value: &str| {
            let node = |value| Value::Array(vec![bulk("=bo"), bulk(value)]);
            let nodes = [node(value), node("1 7 {\"n\":1}"), node("3")];
            let answer = Value::Array(vec![Value::Int(0), Value::Array(nodes.into())]);
            let member = members(answer).unwrap().list.remove(0);
            (member.sessions, member.info.map(|info| info.json().to_string()))
        };
        assert_eq!(info("2 8 {\"n\": 2}"), (6, Some("{\"n\": 2}".to_owned())));
        // Others are not what a node writes.
        for value in ["2", "2 6 {\"n\":2}", "2 9 [2]", "2 9", "2 x {}", "2 "] {
            assert_eq!(info(value), (6, Some("{\"n\":1}".to_owned())), "{value}");
        }
    }

    #[test]
    fn join_and_leave_messages_are_read_and_other_messages_are_ignored() {
        let read = |text: &str| {
            let UserChange { user, change, info } = read_change(text.as_bytes())?;
            Some((user.map(|it| it.to_string()), change, info.map(|it| it.json().to_string())))
        };
        let ada = || Some("a/b".to_owned());
        let join = read(r#"{"user":"a\/b","change":"join"}"#);
        assert_eq!(join, Some((ada(), Change::Join, None)));
        let join = read(r#"{"user":"a/b","change":"join","info":{"n":1.0}}"#);
        assert_eq!(join, Some((ada(), Change::Join, Some(r#"{"n":1.0}"#.to_owned()))));
        assert_eq!(
            read(r#"{"user":"a/b","change":"join","info":[]}"#),
            Some((ada(), Change::Join, None))
        );
        let leave = read(r#"{"change":"leave","user":null}"#);
        assert_eq!(leave, Some((None, Change::Leave, None)));
        for other in [&b""[..], b"{}", b"\xff", br#"{"change":"went","user":"a"}"#] {
            assert_eq!(read_change(other), None);
        }
    }
}
