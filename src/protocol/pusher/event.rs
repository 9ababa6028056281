//! Publications as events. A publication that is the event `{"event":"E","data":D}` is that event; any other is the event
//! `message`, with the payload as its data.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::name::{is_presence, name_of};
use super::written;
use crate::protocol::json::readable::{is_readable, is_readable_json};
use crate::publication::{PayloadKind, Publication};

/// The longest name of an event, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// What the names of events begin with that clients may send.
pub const OF_CLIENT: &str = "client-";

/// The event of a publication that is none itself.
const MESSAGE: &str = "message";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventPayload<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl<'a> EventPayload<'a> {
    /// None: the publication is none, or its name is one of the protocol's own, which only the node sends.
    fn of(publication: &'a Publication) -> Option<Self> {
        let may_be = publication.kind == PayloadKind::Text && publication.payload.starts_with(b"{");
        let event: Self =
            may_be.then(|| serde_json::from_slice(&publication.payload).ok()).flatten()?;
        let is_readable = !event.data.get().starts_with('"') || is_readable_json(event.data.get());
        (is_readable && is_name(&event.event)).then_some(event)
    }
}

/// Whether an application may send events of this name.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with("pusher:")
        && !name.starts_with("pusher_internal:")
}

/// The payload of an event. `data`: JSON. A text that is itself JSON, other than a text, is unwrapped, so that subscribers of
/// other protocols get it as JSON; [`publication`] wraps it again.
pub fn payload(event: &str, data: &RawValue) -> Bytes {
    let text = match data.get().starts_with('"') {
        true => serde_json::from_str::<Cow<'_, str>>(data.get()).ok(),
        false => None,
    };
    let unwrapped = text.as_deref().filter(|text| is_unwrappable(text));
    let mut out = Vec::with_capacity(data.get().len() + event.len() + 24);
    out.extend_from_slice(br#"{"event":"#);
    write_string(&mut out, event);
    out.extend_from_slice(br#","data":"#);
    out.extend_from_slice(unwrapped.unwrap_or(data.get()).as_bytes());
    out.push(b'}');
    out.into()
}

/// Whether the text can be put in as JSON and taken out as the same text.
fn is_unwrappable(text: &str) -> bool {
    let is_bare = text.trim_ascii() == text && !text.starts_with('"');
    is_bare && is_readable(text)
}

/// The event of a publication, in a text frame.
pub fn publication(channel: &str, publication: &Publication) -> Bytes {
    let name = name_of(channel);
    let payload = &publication.payload[..];
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 8 + name.len() + 64);
    out.extend_from_slice(br#"{"event":"#);
    match EventPayload::of(publication) {
        Some(EventPayload { event, data }) => {
            write_string(&mut out, &event);
            write_channel(&mut out, &name);
            match data.get() {
                text if text.starts_with('"') => out.extend_from_slice(text.as_bytes()),
                json => write_string(&mut out, json),
            }
            if let Some(user) = &publication.user
                && is_presence(&name)
                && event.starts_with(OF_CLIENT)
            {
                out.extend_from_slice(br#","user_id":"#);
                write_string(&mut out, user);
            }
        }
        None => {
            write_string(&mut out, MESSAGE);
            write_channel(&mut out, &name);
            let text = match publication.kind {
                PayloadKind::Text | PayloadKind::TextPart => str::from_utf8(payload).ok(),
                PayloadKind::Binary => None,
            };
            match text {
                Some(text) => write_string(&mut out, text),
                None => write_string(&mut out, &BASE64.encode(payload)),
            }
        }
    }
    out.push(b'}');
    written::frame(&out)
}

fn write_channel(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(br#","channel":"#);
    write_string(out, name);
    out.extend_from_slice(br#","data":"#);
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a vector takes every string");
}
