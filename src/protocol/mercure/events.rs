//! Updates as Server-Sent Events.
//!
//! All clients share an update's bytes, which begin with a mark in place of the id: what each client's stamp needs to
//! decide whether the client gets the update, and under which id.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::close::Close;
use crate::framing::sse::SseEvent;
use crate::protocol::json::written;
use crate::protocol::sse::SseEvents;
use crate::protocol::{Encode, Push};
use crate::publication::{PayloadKind, Position, Publication, UpdateFields};

/// What the shared bytes of an event have as their id. Parts are separated by spaces, which no channel has.
#[derive(Debug, PartialEq, Eq)]
pub struct EventMark<'a> {
    pub channel: &'a str,
    /// None: the channel keeps no history.
    pub position: Option<Position>,
    pub is_private: bool,
    /// All channels of the update; empty: only this one.
    pub topics: Vec<&'a str>,
    /// The id where there is no position; may be empty.
    pub event_id: &'a str,
}

const NO_POSITION: &str = "-";
const PRIVATE: &str = "p";
const PUBLIC: &str = "-";

impl<'a> EventMark<'a> {
    /// Of an event that only tells the position.
    pub fn of_position(channel: &'a str, position: Option<Position>) -> Self {
        Self { channel, position, is_private: false, topics: Vec::new(), event_id: "" }
    }

    pub fn text(&self) -> String {
        let Self { channel, position, is_private, topics, event_id } = self;
        let position = position.map_or(NO_POSITION.to_owned(), |position| position.to_string());
        let private = if *is_private { PRIVATE } else { PUBLIC };
        let mut text = format!("{channel} {position} {private} {} ", topics.len());
        for topic in topics {
            write!(text, "{topic} ").expect("a text takes every line");
        }
        text + event_id
    }

    /// None: the text is no mark.
    pub fn read(text: &'a str) -> Option<Self> {
        let mut rest = text;
        let mut next = || {
            let (part, behind) = rest.split_once(' ')?;
            rest = behind;
            Some(part)
        };
        let channel = next()?;
        let position = match next()? {
            NO_POSITION => None,
            position => Some(position.parse().ok()?),
        };
        let is_private = next()? == PRIVATE;
        let count: usize = next()?.parse().ok()?;
        let topics = (0..count).map(|_| next()).collect::<Option<Vec<_>>>()?;
        Some(Self { channel, position, is_private, topics, event_id: rest })
    }
}

/// Updates, each as an event that begins with its mark.
pub struct MercureEvents;

impl Encode for MercureEvents {
    fn publication(channel: &str, publication: &Publication) -> Bytes {
        let none = UpdateFields::default();
        let update = publication.update.as_deref().unwrap_or(&none);
        let made = match (publication.position, &update.event_id) {
            (None, None) => new_id(),
            _ => String::new(),
        };
        let mark = EventMark {
            channel,
            position: publication.position,
            is_private: update.is_private,
            topics: update.topics.iter().map(|topic| &**topic).collect(),
            event_id: update.event_id.as_deref().unwrap_or(&made),
        };
        let mut event = SseEvent::default().id(&mark.text());
        if let Some(retry) = update.retry_ms {
            event = event.retry(retry);
        }
        if let Some(name) = &update.event {
            event = event.name(name);
        }
        match (publication.kind, &update.event) {
            (PayloadKind::Text | PayloadKind::TextPart, _) => event.data(&publication.payload),
            (PayloadKind::Binary, named) => {
                if named.is_none() {
                    event = event.name("binary");
                }
                event.data(STANDARD.encode(&publication.payload).as_bytes())
            }
        }
        .end()
    }

    fn push(push: &Push<'_>) -> Option<Bytes> {
        let Push::Ended { channel, position, .. } = push else { return SseEvents::push(push) };
        let mark = EventMark::of_position(channel, *position).text();
        Some(SseEvent::default().id(&mark).name("ended").data(&written::push(push)).end())
    }

    fn close_at_end() -> Option<Close> {
        None
    }

    fn heartbeat() -> Option<Bytes> {
        SseEvents::heartbeat()
    }

    fn close(close: Close) -> Option<Bytes> {
        SseEvents::close(close)
    }

    fn breaks_off(_: Close) -> bool {
        false
    }
}

/// A random IRI (RFC 9562 section 5.4).
pub fn new_id() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = "urn:uuid:".to_owned();
    for (at, byte) in bytes.iter().enumerate() {
        let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
        write!(id, "{dash}{byte:02x}").expect("a text takes every line");
    }
    id
}
