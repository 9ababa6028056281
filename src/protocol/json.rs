//! The json protocol: one JSON object a text frame.

mod command;
mod depth;
mod readable;

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

pub use command::{decode, id_of};
pub use depth::exceeds;
use readable::is_readable;

use super::{Push, Reply, ReplyError};
use crate::frame;
use crate::publication::{Change, Kind, Member, Position, Publication};

/// A reply or push as it is written.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Written<'a> {
    Welcome {
        session: &'a str,
        node: &'a str,
        ping_interval_ms: u64,
    },
    Subscribed {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        channel: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        recovered: Option<bool>,
    },
    Unsubscribed {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        channel: &'a str,
    },
    Published {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<String>,
    },
    History {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        channel: &'a str,
        publications: Vec<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        recovered: Option<bool>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        more: bool,
    },
    Presence {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        channel: &'a str,
        members: Vec<WrittenMember<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        truncated: bool,
    },
    Authenticated {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        user: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_in_ms: Option<u64>,
    },
    Join {
        channel: &'a str,
        user: Option<&'a str>,
    },
    Leave {
        channel: &'a str,
        user: Option<&'a str>,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
    },
    Gap {
        channel: &'a str,
        reason: &'a str,
    },
    Reconnect {
        after_ms: u64,
        reason: &'a str,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        channel: Option<&'a str>,
        code: &'a str,
        message: &'a str,
        temporary: bool,
    },
}

#[derive(Serialize)]
struct WrittenMember<'a> {
    user: Option<&'a str>,
    sessions: u32,
}

pub fn reply(reply: &Reply) -> Bytes {
    write(&match reply {
        Reply::Subscribed { id, channel, position, recovered } => Written::Subscribed {
            id: *id,
            channel: channel.as_str(),
            position: text(position),
            recovered: *recovered,
        },
        Reply::Unsubscribed { id, channel } => {
            Written::Unsubscribed { id: *id, channel: channel.as_str() }
        }
        Reply::Published { id, position } => {
            Written::Published { id: *id, position: text(position) }
        }
        Reply::Presence { id, channel, members } => Written::Presence {
            id: *id,
            channel: channel.as_str(),
            members: members.list.iter().map(member).collect(),
            truncated: members.truncated,
        },
        Reply::History { id, channel, excerpt } => Written::History {
            id: *id,
            channel: channel.as_str(),
            publications: excerpt.publications.iter().map(object).collect(),
            position: text(&excerpt.position),
            recovered: excerpt.recovered,
            more: excerpt.more,
        },
        Reply::Authenticated { id, user, expires_in } => Written::Authenticated {
            id: *id,
            user: user.as_deref(),
            expires_in_ms: expires_in.map(|left| left.as_millis() as u64),
        },
        Reply::Pong { id } => Written::Pong { id: *id },
        Reply::Error(ReplyError { id, channel, code, message }) => Written::Error {
            id: *id,
            channel: channel.as_deref(),
            code: code.as_str(),
            message,
            temporary: code.is_temporary(),
        },
    })
}

pub fn push(push: &Push<'_>) -> Bytes {
    write(&match push {
        Push::Welcome { session, node, ping_interval_ms } => {
            Written::Welcome { session, node, ping_interval_ms: *ping_interval_ms }
        }
        Push::Gap { channel, reason } => Written::Gap { channel, reason },
        Push::Reconnect { after, reason } => {
            Written::Reconnect { after_ms: after.as_millis() as u64, reason }
        }
        Push::Presence { channel, user, change: Change::Join } => {
            Written::Join { channel, user: user.as_deref() }
        }
        Push::Presence { channel, user, change: Change::Leave } => {
            Written::Leave { channel, user: user.as_deref() }
        }
    })
}

fn member(member: &Member) -> WrittenMember<'_> {
    WrittenMember { user: member.user.as_deref(), sessions: member.sessions }
}

fn text(position: &Option<Position>) -> Option<String> {
    position.map(|position| position.to_string())
}

fn write(written: &Written<'_>) -> Bytes {
    let text = serde_json::to_vec(written).expect("texts and numbers are always JSON");
    frame::message(Kind::Text, &text)
}

pub fn publication(channel: &str, publication: &Publication) -> Bytes {
    let mut out = Vec::with_capacity(publication.payload.len() + channel.len() + 96);
    out.extend_from_slice(br#"{"type":"publication","channel":"#);
    write_string(&mut out, channel);
    out.push(b',');
    write_fields(&mut out, publication);
    frame::message(Kind::Text, &out)
}

/// A publication of a list, which says itself of which channel it is.
fn object(publication: &Publication) -> Box<RawValue> {
    let mut out = vec![b'{'];
    write_fields(&mut out, publication);
    let text = String::from_utf8(out).expect("what is written is UTF-8");
    RawValue::from_string(text).expect("what is written is JSON")
}

/// All fields but the channel, and the end of the object. The payload goes in as it is where it is
/// JSON, so that its numbers and key order survive.
fn write_fields(out: &mut Vec<u8>, publication: &Publication) {
    let payload = &publication.payload[..];
    match std::str::from_utf8(payload) {
        Ok(text) if is_readable(text) => {
            out.extend_from_slice(br#""data":"#);
            out.extend_from_slice(payload);
        }
        Ok(text) => {
            out.extend_from_slice(br#""text":"#);
            write_string(out, text);
        }
        Err(_) => {
            out.extend_from_slice(br#""base64":"#);
            write_string(out, &BASE64.encode(payload));
        }
    }
    if let Some(position) = publication.position {
        write!(out, r#","position":"{position}""#).expect("a vector takes every number");
    }
    if let Some(user) = &publication.user {
        out.extend_from_slice(br#","user":"#);
        write_string(out, user);
    }
    out.push(b'}');
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a vector takes every string");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Code, Excerpt};
    use crate::publication::Channel;

    fn text(frame: &[u8]) -> &str {
        let head = if frame[1] < 126 { 2 } else { 4 };
        std::str::from_utf8(&frame[head..]).unwrap()
    }

    #[test]
    fn a_payload_is_data_where_it_is_json_else_text_else_base64() {
        for (payload, written) in [
            (&br#"{"b":1.0, "a":2}"#[..], r#""data":{"b":1.0, "a":2}"#),
            (b"null", r#""data":null"#),
            (b"42", r#""data":42"#),
            (b"say \"hi\"\n", r#""text":"say \"hi\"\n""#),
            (b"", r#""text":"""#),
            (b"{\"a\":", r#""text":"{\"a\":""#),
            (b"1e999", r#""text":"1e999""#),
            (b"\"\\ud83d\"", r#""text":"\"\\ud83d\"""#),
            (b"\xff\x00", r#""base64":"/wA=""#),
            (b"\"\xff\"", r#""base64":"Iv8i""#),
        ] {
            let frame = publication("chat:1", &Publication::bare(Bytes::copy_from_slice(payload)));
            let wanted = format!(r#"{{"type":"publication","channel":"chat:1",{written}}}"#);
            assert_eq!(text(&frame), wanted);
        }
    }

    #[test]
    fn the_user_is_named_and_channel_names_are_escaped() {
        let mut from_ada = Publication::bare(Bytes::from_static(b"1"));
        from_ada.user = Some("ada".into());
        let frame = publication("a\"b", &from_ada);
        assert_eq!(
            text(&frame),
            r#"{"type":"publication","channel":"a\"b","data":1,"user":"ada"}"#
        );
    }

    #[test]
    fn positions_stand_in_publications_and_in_lists_of_them() {
        let position = Some(Position { epoch: 1763, seq: 58 });
        let kept = Publication { position, ..Publication::bare(Bytes::from_static(b"{}")) };
        assert_eq!(
            text(&publication("a", &kept)),
            r#"{"type":"publication","channel":"a","data":{},"position":"1763-58"}"#
        );
        let excerpt = Excerpt { publications: vec![kept], position, ..Excerpt::default() };
        let channel = Channel::new("a").unwrap();
        assert_eq!(
            text(&reply(&Reply::History { id: Some(6), channel, excerpt })),
            r#"{"type":"history","id":6,"channel":"a","publications":[{"data":{},"position":"1763-58"}],"position":"1763-58"}"#
        );
    }

    #[test]
    fn replies_leave_out_what_is_not_there() {
        assert_eq!(
            text(&reply(&Reply::Published { id: None, position: None })),
            r#"{"type":"published"}"#
        );
        let error = ReplyError {
            id: Some(4),
            channel: Some("news".into()),
            code: Code::Unavailable,
            message: "later".into(),
        };
        assert_eq!(
            text(&reply(&Reply::Error(error))),
            r#"{"type":"error","id":4,"channel":"news","code":"unavailable","message":"later","temporary":true}"#
        );
    }
}
