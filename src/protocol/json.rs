//! The json protocol: one JSON object a text frame.

mod command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Serialize;
use serde::de::IgnoredAny;

pub use command::decode;

use super::{Push, Reply, ReplyError};
use crate::frame;
use crate::publication::{Kind, Publication};

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
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
    },
    Gap {
        channel: &'a str,
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

pub fn reply(reply: &Reply) -> Bytes {
    write(&match reply {
        Reply::Subscribed { id, channel, recovered } => {
            Written::Subscribed { id: *id, channel: channel.as_str(), recovered: *recovered }
        }
        Reply::Unsubscribed { id, channel } => {
            Written::Unsubscribed { id: *id, channel: channel.as_str() }
        }
        Reply::Published { id } => Written::Published { id: *id },
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

pub fn push(push: &Push) -> Bytes {
    write(&match push {
        Push::Welcome { session, node, ping_interval_ms } => {
            Written::Welcome { session, node, ping_interval_ms: *ping_interval_ms }
        }
        Push::Gap { channel, reason } => Written::Gap { channel: channel.as_str(), reason },
    })
}

fn write(written: &Written<'_>) -> Bytes {
    let text = serde_json::to_vec(written).expect("texts and numbers are always JSON");
    frame::message(Kind::Text, &text)
}

/// The payload goes in as it is where it is JSON, so that its numbers and key order survive.
pub fn publication(channel: &str, publication: &Publication) -> Bytes {
    let payload = &publication.payload[..];
    let mut out = Vec::with_capacity(payload.len() + channel.len() + 64);
    out.extend_from_slice(br#"{"type":"publication","channel":"#);
    write_string(&mut out, channel);
    match std::str::from_utf8(payload) {
        // Asked of the text: of mere bytes serde takes any for a string's.
        Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => {
            out.extend_from_slice(br#","data":"#);
            out.extend_from_slice(payload);
        }
        Ok(text) => {
            out.extend_from_slice(br#","text":"#);
            write_string(&mut out, text);
        }
        Err(_) => {
            out.extend_from_slice(br#","base64":"#);
            write_string(&mut out, &BASE64.encode(payload));
        }
    }
    if let Some(user) = &publication.user {
        out.extend_from_slice(br#","user":"#);
        write_string(&mut out, user);
    }
    out.push(b'}');
    frame::message(Kind::Text, &out)
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a vector takes every string");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Code;

    fn text(frame: &Bytes) -> &str {
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
    fn replies_leave_out_what_is_not_there() {
        assert_eq!(text(&reply(&Reply::Published { id: None })), r#"{"type":"published"}"#);
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
