//! Presence in Redis: the calls of its functions (`presence.lua`), their answers, and the messages
//! that tell of joins and leaves. No I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, ParsingError, Value};
use serde::Deserialize;

use crate::broker::presence::{Attendance, MEMBERS_MAX, MembershipState, Renewal};
use crate::broker::redis::sibling_key::sibling_key;
use crate::publication::{Change, Channel, Member, Members, NodeId, User};

/// Most renewals of one channel behind each other, while members of dead nodes are left. Beyond it
/// the next node's renewal goes on.
pub const ROUNDS_MAX: usize = 100;

const WHAT: &str = "presence";

/// Builds the calls of one node.
#[derive(Clone, Debug)]
pub struct PresenceCalls {
    prefix: Arc<str>,
    node: String,
    publish: &'static str,
}

impl PresenceCalls {
    /// `publish`: the command that tells of joins and leaves, `PUBLISH` or, on a cluster, `SPUBLISH`.
    pub fn new(prefix: Arc<str>, node: NodeId, publish: &'static str) -> Self {
        Self { prefix, node: node.to_string(), publish }
    }

    /// The channel's key, which is also the Redis channel of its joins and leaves.
    pub fn key(&self, channel: &str) -> String {
        sibling_key(&self.prefix, WHAT, &format!("{}{channel}", self.prefix))
    }

    /// The channel whose joins and leaves this Redis channel, without the prefix, carries. None: it
    /// carries something else.
    pub fn channel_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name.strip_prefix(WHAT)?;
        let (tag, channel) = rest.rsplit_once(' ')?;
        (tag.starts_with(" {") && tag.ends_with('}')).then_some(channel)
    }

    /// Answered by what [`standing`] reads.
    pub fn write(&self, ttl: Duration, attendance: &Attendance) -> Cmd {
        let mut call = self.call("tidegate_presence_update", &attendance.channel, ttl);
        call.arg(u8::from(attendance.announce));
        for member in &attendance.members {
            call.arg(field(&member.user)).arg(member.sessions);
        }
        call
    }

    /// Answered by what [`renewed`] reads.
    pub fn renew(&self, ttl: Duration, renewal: &Renewal) -> Cmd {
        let mut call = self.call("tidegate_presence_refresh", &renewal.channel, ttl);
        let members = renewal.members.and_then(|members| i64::try_from(members).ok());
        call.arg(members.unwrap_or(-1));
        call
    }

    /// Answered by what [`members`] reads.
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

/// Is it the key of a channel's nodes?
pub fn is_key(prefix: &str, key: &str) -> bool {
    key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(&format!("{WHAT} {{")))
}

/// What a write was answered.
pub fn standing(answer: Value) -> Result<MembershipState, ParsingError> {
    match String::from_redis_value(answer)?.as_str() {
        "known" => Ok(MembershipState::Known),
        "forgotten" => Ok(MembershipState::Forgotten),
        "removed" => Ok(MembershipState::Removed),
        _ => Err("no standing of a node".into()),
    }
}

/// What a renewal was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    pub standing: MembershipState,
    /// Members of dead nodes are left: renew again, at most [`ROUNDS_MAX`] times.
    pub more: bool,
}

pub fn renewed(answer: Value) -> Result<Renewed, ParsingError> {
    let (standing_of_node, more) = FromRedisValue::from_redis_value(answer)?;
    Ok(Renewed { standing: standing(standing_of_node)?, more })
}

/// What the question for a channel's members was answered: each node's, summed up here to spare
/// Redis the work.
pub fn members(answer: Value) -> Result<Members, ParsingError> {
    let (truncated, nodes) = <(bool, Vec<Fields>)>::from_redis_value(answer)?;
    let mut sums: BTreeMap<User, u32> = BTreeMap::new();
    for (field, sessions) in nodes.into_iter().flatten() {
        // What no node wrote is nobody.
        let Some(user) = user(&field) else { continue };
        let sum = sums.entry(user).or_default();
        *sum = sum.saturating_add(sessions);
    }
    let list = sums.into_iter().map(|(user, sessions)| Member { user, sessions }).collect();
    Ok(Members { list, truncated })
}

/// A node's members, as its hash has them.
type Fields = Vec<(Vec<u8>, u32)>;

/// A user as a field of a hash: `=name`, and `-` for none, so that the empty name is another.
fn field(user: &User) -> String {
    user.as_deref().map_or_else(|| "-".to_owned(), |name| format!("={name}"))
}

fn user(field: &[u8]) -> Option<User> {
    match std::str::from_utf8(field).ok()? {
        "-" => Some(None),
        field => field.strip_prefix('=').map(|name| Some(name.into())),
    }
}

/// What a message on a channel's Redis channel for joins and leaves says. None: nothing that a node
/// wrote.
pub fn change(message: &[u8]) -> Option<(User, Change)> {
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
    fn a_write_names_both_keys_and_tells_no_user_from_an_empty_name() {
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
    fn the_redis_channel_leads_back_to_the_channel() {
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
    fn standings_are_read_and_nothing_else_is() {
        assert_eq!(standing(bulk("known")).unwrap(), MembershipState::Known);
        assert_eq!(standing(bulk("removed")).unwrap(), MembershipState::Removed);
        assert!(standing(bulk("elsewhere")).is_err());
        let answer = Value::Array(vec![bulk("forgotten"), Value::Int(1)]);
        let expected = Renewed { standing: MembershipState::Forgotten, more: true };
        assert_eq!(renewed(answer).unwrap(), expected);
        assert!(renewed(Value::Nil).is_err());
    }

    #[test]
    fn members_are_summed_over_the_nodes() {
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
    fn messages_are_read_and_what_is_none_is_left() {
        assert_eq!(
            change(br#"{"user":"a\/b","change":"join"}"#),
            Some((Some("a/b".into()), Change::Join))
        );
        assert_eq!(change(br#"{"change":"leave","user":null}"#), Some((None, Change::Leave)));
        for other in [&b""[..], b"{}", b"\xff", br#"{"change":"went","user":"a"}"#] {
            assert_eq!(change(other), None);
        }
    }
}
