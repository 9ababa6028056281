//! Publications as JSON objects.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::value::RawValue;

use super::readable::is_readable;
use crate::publication::{PayloadKind, Publication};

/// A publication message with its channel.
pub fn publication(channel: &str, publication: &Publication) -> Vec<u8> {
    let mut out = Vec::with_capacity(publication.payload.len() + channel.len() + 96);
    out.extend_from_slice(br#"{"type":"publication","channel":"#);
    write_string(&mut out, channel);
    out.push(b',');
    write_fields(&mut out, publication);
    out
}

/// A publication in a list, without the channel.
pub fn object(publication: &Publication) -> Box<RawValue> {
    let mut out = vec![b'{'];
    write_fields(&mut out, publication);
    let text = String::from_utf8(out).expect("the output is UTF-8");
    RawValue::from_string(text).expect("the output is JSON")
}

/// Writes all fields but the channel, and the end of the object.
fn write_fields(out: &mut Vec<u8>, publication: &Publication) {
    write_payload(out, publication);
    if let Some(position) = publication.position {
        write!(out, r#","position":"{position}""#).expect("a vector takes every number");
    }
    if let Some(user) = &publication.user {
        out.extend_from_slice(br#","user":"#);
        write_string(out, user);
    }
    if let Some(micros) = publication.sent_at {
        write!(out, r#","time":{}"#, micros / 1000).expect("a vector takes every number");
    }
    out.push(b'}');
}

/// Writes a binary payload in base64, even if its bytes are text. A text that is JSON is written unchanged, so
/// that its numbers and key order are kept.
fn write_payload(out: &mut Vec<u8>, publication: &Publication) {
    let payload = &publication.payload[..];
    let text = match publication.kind {
        PayloadKind::Text | PayloadKind::TextPart => std::str::from_utf8(payload).ok(),
        PayloadKind::Binary => None,
    };
    let may_be_data = publication.kind == PayloadKind::Text;
    match text {
        Some(text) if may_be_data && is_readable(text) => {
            out.extend_from_slice(br#""data":"#);
            out.extend_from_slice(payload);
        }
        Some(text) => {
            out.extend_from_slice(br#""text":"#);
            write_string(out, text);
        }
        None => {
            out.extend_from_slice(br#""base64":"#);
            write_string(out, &BASE64.encode(payload));
        }
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a vector takes every string");
}
