//! The calls of the functions of `events.lua`, and their replies. No I/O.

use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, ParsingError, Value};

use crate::broker::event_log::{
    EVENT_CHANGES_MAX, EventBatch, EventChange, EventEdges, EventItem, EventLogConfig,
    EventRenewal, PublishedEvent,
};
use crate::publication::{NodeId, User};

/// Maximum number of items removed in one call, so that one call does not keep Redis busy for long.
const REMOVALS_MAX: usize = 500;

/// Builds the calls of one node.
pub struct EventCalls {
    config: EventLogConfig,
    node: NodeId,
    nodes_key: String,
    counts_key: String,
    /// The key of what a node holds, without the node.
    node_key: String,
}

impl EventCalls {
    pub fn new(config: EventLogConfig, node: NodeId) -> Self {
        let stream = &config.stream;
        let tag = stream.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
        let base = format!("{stream} {{{}}}", tag.map_or(stream.as_str(), |(tag, _)| tag));
        let key = |what: &str| format!("{base} {what}");
        Self {
            nodes_key: key("nodes"),
            counts_key: key("counts"),
            node_key: key("node"),
            config,
            node,
        }
    }

    pub fn nodes_key(&self) -> &str {
        &self.nodes_key
    }

    /// The reply is 1, or 0 where Redis does not know the batch before this one.
    pub fn write(&self, batch: &EventBatch) -> Cmd {
        let mut call = self.call("tidegate_events_write", self.node);
        call.arg(millis(self.config.ttl)).arg(self.config.size);
        call.arg(batch.generation).arg(batch.number).arg(u8::from(batch.begins));
        for change in &batch.changes {
            add(&mut call, change);
        }
        call
    }

    /// [`renewal`] reads the reply.
    pub fn renew(&self) -> Cmd {
        let mut call = self.call("tidegate_events_renew", self.node);
        call.arg(millis(self.config.ttl));
        call
    }

    /// The reply is 1 where items remain.
    pub fn remove(&self, node: NodeId) -> Cmd {
        let mut call = self.call("tidegate_events_remove", node);
        call.arg(self.config.size).arg(REMOVALS_MAX);
        call
    }

    /// The reply is the next cursor.
    pub fn sweep(&self, generation: u64, cursor: u64) -> Cmd {
        let mut call = self.call("tidegate_events_sweep", self.node);
        call.arg(self.config.size).arg(generation).arg(cursor).arg(EVENT_CHANGES_MAX);
        call
    }

    /// The reply is 1 where other nodes are alive.
    pub fn leave(&self, grace: Duration) -> Cmd {
        let mut call = self.call("tidegate_events_leave", self.node);
        call.arg(millis(grace));
        call
    }

    /// A call for what `node` holds.
    fn call(&self, function: &str, node: NodeId) -> Cmd {
        let mut call = ::redis::cmd("FCALL");
        call.arg(function).arg(4).arg(&self.config.stream).arg(&self.nodes_key);
        call.arg(&self.counts_key).arg(format!("{} {node}", self.node_key));
        call.arg(node.to_string());
        call
    }
}

fn add(call: &mut Cmd, change: &EventChange) {
    match change {
        EventChange::Hold { item, edges, info } => {
            call.arg("+").arg(field(item)).arg(digit(*edges));
            call.arg(info.as_ref().map_or("", |info| &**info.json()));
        }
        EventChange::Free { item, edges } => {
            call.arg("-").arg(field(item)).arg(digit(*edges));
        }
        EventChange::Connected { session, user } => {
            call.arg("o").arg(session.to_string()).arg(user_text(user));
        }
        EventChange::Disconnected { session, reason } => {
            call.arg("x").arg(session.to_string()).arg(*reason);
        }
        EventChange::Published(event) => {
            let fields = published(event);
            call.arg("e").arg(fields.len()).arg(fields);
        }
    }
}

/// The type, and the fields with their values.
fn published(event: &PublishedEvent) -> Vec<Vec<u8>> {
    let mut fields: Vec<Vec<u8>> = vec!["published".into()];
    let mut add = |name: &str, value: Vec<u8>| fields.extend([name.into(), value]);
    add("channel", event.channel.as_str().into());
    if let Some(user) = &event.user {
        add("user", user.as_bytes().into());
    }
    if let Some(session) = event.session {
        add("session", session.to_string().into());
    }
    if let Some(position) = event.position {
        add("position", position.to_string().into());
    }
    add("size", event.size.to_string().into());
    if let Some(payload) = &event.payload {
        add("payload", payload.to_vec());
    }
    if event.is_binary {
        add("binary", "1".into());
    }
    fields
}

fn field(item: &EventItem) -> String {
    match item {
        EventItem::Channel(channel) => format!("c{channel}"),
        EventItem::Member(channel, user) => format!("m{channel} {}", user_text(user)),
    }
}

/// A user: `=name`, and `-` for none, which differs from the empty name.
fn user_text(user: &User) -> String {
    user.as_deref().map_or_else(|| "-".to_owned(), |name| format!("={name}"))
}

fn digit(edges: EventEdges) -> u8 {
    match edges {
        EventEdges::First => 1,
        EventEdges::Last => 2,
        EventEdges::Both => 3,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The reply to a renewal.
pub fn renewal(answer: Value) -> Result<EventRenewal, ParsingError> {
    let (number, dead) = <(String, Vec<String>)>::from_redis_value(answer)?;
    // An id that no node wrote is no node.
    let dead = dead.iter().filter_map(|node| node.parse().ok()).collect();
    Ok(EventRenewal { number: number.parse().ok(), dead })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::{Channel, SessionId, UserInfo};

    fn calls(stream: &str, node: NodeId) -> EventCalls {
        let ttl = Duration::from_secs(30);
        EventCalls::new(EventLogConfig { stream: stream.to_owned(), size: 1000, ttl }, node)
    }

    fn words(call: &Cmd) -> String {
        let word = |argument: ::redis::Arg<&[u8]>| match argument {
            ::redis::Arg::Simple(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        };
        call.args_iter().map(word).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn a_batch_declares_four_keys_of_one_slot_and_each_kind_of_change() {
        let node = NodeId::random();
        let session = SessionId { node, number: 7 };
        let (news, ada) = (Channel::new("news").unwrap(), Some("ada".into()));
        let item = EventItem::Member(news.clone(), ada.clone());
        let published = PublishedEvent {
            channel: news.clone(),
            user: None,
            session: Some(session),
            position: None,
            size: 2,
            payload: Some("hi".into()),
            is_binary: false,
        };
        let changes = vec![
            EventChange::Hold {
                item: EventItem::Channel(news),
                edges: EventEdges::Both,
                info: UserInfo::new(r#"{"a":1}"#, 5),
            },
            EventChange::Free { item, edges: EventEdges::Last },
            EventChange::Connected { session, user: ada },
            EventChange::Disconnected { session, reason: "lost" },
            EventChange::Published(published.into()),
        ];
        let batch = EventBatch { number: 9, generation: 2, begins: true, changes };
        let key = "tidegate:events {tidegate:events}";
        let expected = format!(
            "FCALL|tidegate_events_write|4|tidegate:events|{key} nodes|{key} counts|{key} node {node}|{node}\
             |30000|1000|2|9|1|+|cnews|3|{{\"a\":1}}|-|mnews =ada|2|o|{session}|=ada|x|{session}|lost\
             |e|9|published|channel|news|session|{session}|size|2|payload|hi"
        );
        assert_eq!(words(&calls("tidegate:events", node).write(&batch)), expected);
    }

    #[test]
    fn the_keys_of_events_take_the_hash_tag_that_the_stream_has() {
        let (node, dead) = (NodeId::random(), NodeId::random());
        let key = "t:{a}b {a}";
        let call = words(&calls("t:{a}b", node).remove(dead));
        let expected = format!(
            "FCALL|tidegate_events_remove|4|t:{{a}}b|{key} nodes|{key} counts|{key} node {dead}|{dead}|1000|500"
        );
        assert_eq!(call, expected);
    }

    #[test]
    fn renewals_are_read_and_other_replies_are_errors() {
        let bulk = |text: &str| Value::BulkString(text.into());
        let node = NodeId::random();
        let dead = Value::Array(vec![bulk(&node.to_string()), bulk("a worker")]);
        let read = renewal(Value::Array(vec![bulk("41"), dead])).unwrap();
        assert_eq!(read, EventRenewal { number: Some(41), dead: vec![node] });
        let unknown = renewal(Value::Array(vec![bulk(""), Value::Array(vec![])])).unwrap();
        assert_eq!(unknown.number, None);
        assert!(renewal(bulk("OK")).is_err());
    }
}
