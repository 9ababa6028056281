//! Durable streams in Redis: calls of the functions in `streams.lua`.

use ::redis::{Cmd, Value};

use super::header;
use super::queries::{Queries, READ_ONLY, UNEXPECTED_REPLY};
use crate::broker::streams::{CommitOutcome, Removal, StoredStream, StreamCommit};
use crate::broker::unavailable::Unavailable;
use crate::publication::{Channel, EndReason, NodeId, Position, Publication};

/// Reads and changes streams.
pub struct RedisStreams {
    pub queries: Queries,
}

impl RedisStreams {
    pub async fn read(
        &self,
        channel: Channel,
        fields: Vec<String>,
    ) -> Result<StoredStream, Unavailable> {
        let mut call = self.call("tidegate_stream_state", &channel);
        fields.iter().for_each(|field| _ = call.arg(field));
        let answer = self.queries.call(channel, call).await?;
        stored(answer, fields.len()).ok_or(UNEXPECTED_REPLY)
    }

    /// A server that takes no writes now serves reads all the same.
    pub async fn renew(&self, channel: Channel) -> Result<(), Unavailable> {
        let call = self.call("tidegate_stream_renew", &channel);
        match self.queries.call(channel, call).await {
            Ok(_) | Err(READ_ONLY) => Ok(()),
            Err(why) => Err(why),
        }
    }

    pub async fn commit(
        &self,
        channel: Channel,
        commit: StreamCommit,
    ) -> Result<CommitOutcome, Unavailable> {
        let mut call = self.call("tidegate_stream_commit", &channel);
        add_commit(&mut call, &commit, self.queries.context.node);
        let answer = self.queries.call(channel, call).await?;
        outcome(&answer).ok_or(UNEXPECTED_REPLY)
    }

    /// Declares the keys of the channel. The functions know the second one where it cannot be told here.
    fn call(&self, function: &str, channel: &Channel) -> Cmd {
        let context = &self.queries.context;
        let name = context.name(channel);
        let stream_key = context.stream_key(&name);
        let mut call = ::redis::cmd("FCALL");
        call.arg(function).arg(1 + usize::from(stream_key.is_some())).arg(name);
        stream_key.into_iter().for_each(|key| _ = call.arg(key));
        call
    }
}

fn add_commit(call: &mut Cmd, commit: &StreamCommit, node: NodeId) {
    for fields in [&commit.read, &commit.write] {
        call.arg(fields.len());
        for (field, value) in fields {
            call.arg(field).arg(value.as_deref().unwrap_or_default());
        }
    }
    call.arg(if commit.is_new { "new" } else { "" });
    call.arg(commit.inherited.len());
    for publication in &commit.inherited {
        let position = publication.position.unwrap_or(Position::MIN);
        call.arg(position.to_string()).arg(entry_header(publication, node));
        call.arg(&publication.payload[..]);
    }
    call.arg(commit.append.len());
    for publication in &commit.append {
        call.arg(&publication.payload[..]).arg(header::object(publication, node));
    }
    call.arg(commit.end.as_ref().map_or("", |reason| reason.as_str()));
    call.arg(match commit.removal {
        Removal::Nothing => "",
        Removal::Publications => "clear",
        Removal::Stream => "purge",
    });
}

/// The header of an inherited entry, with what it continues.
fn entry_header(publication: &Publication, node: NodeId) -> Vec<u8> {
    let mut header = header::object(publication, node);
    if let Some(previous) = publication.previous {
        header.pop();
        header.extend_from_slice(format!(",\"prev\":\"{previous}\"}}").as_bytes());
    }
    header
}

/// The reply of `tidegate_stream_state`. `None`: another reply.
fn stored(answer: Value, count: usize) -> Option<StoredStream> {
    let Value::Array(parts) = answer else { return None };
    let text = |value: &Value| match value {
        Value::Nil => Some(None),
        Value::BulkString(text) => Some(Some(String::from_utf8(text.clone()).ok()?)),
        Value::SimpleString(text) => Some(Some(text.clone())),
        _ => None,
    };
    let texts: Vec<Option<String>> = parts.iter().map(text).collect::<Option<_>>()?;
    let (fields, rest) = texts.split_at_checked(count)?;
    let [last, oldest, reason] = rest else { return None };
    let position = |text: &Option<String>| text.as_deref()?.parse().ok();
    let reason = reason.as_deref().and_then(|reason| EndReason::new(reason).ok());
    Some(StoredStream {
        fields: fields.to_vec(),
        last: position(last),
        oldest: position(oldest),
        ended: reason,
    })
}

/// The reply of `tidegate_stream_commit`. `None`: another reply.
fn outcome(answer: &Value) -> Option<CommitOutcome> {
    let text = match answer {
        Value::BulkString(text) => std::str::from_utf8(text).ok()?,
        Value::SimpleString(text) => text,
        _ => return None,
    };
    match text {
        "conflict" => Some(CommitOutcome::Conflict),
        "" => Some(CommitOutcome::Done(None)),
        position => Some(CommitOutcome::Done(Some(position.parse().ok()?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reply_about_a_stream_is_its_fields_and_its_ends() {
        let of = |reply: &str| stored(::redis::parse_redis_value(reply.as_bytes()).unwrap(), 2);
        let reply = "*5\r\n$1\r\na\r\n$-1\r\n$3\r\n7-5\r\n$3\r\n7-2\r\n$0\r\n\r\n";
        let expected = StoredStream {
            fields: vec![Some("a".to_owned()), None],
            last: "7-5".parse().ok(),
            oldest: "7-2".parse().ok(),
            ended: None,
        };
        assert_eq!(of(reply), Some(expected));
        for other in ["*1\r\n:1\r\n", "+soon\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn the_reply_to_a_commit_is_a_position_or_a_conflict() {
        let of = |reply: &str| outcome(&::redis::parse_redis_value(reply.as_bytes()).unwrap());
        let at = "7-5".parse().ok();
        assert_eq!(of("$3\r\n7-5\r\n"), Some(CommitOutcome::Done(at)));
        assert_eq!(of("$0\r\n\r\n"), Some(CommitOutcome::Done(None)));
        assert_eq!(of("$8\r\nconflict\r\n"), Some(CommitOutcome::Conflict));
        assert_eq!(of(":1\r\n"), None);
    }
}
