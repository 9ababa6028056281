//! The form with which a publisher sends an update.

use std::borrow::Cow;

use bytes::Bytes;
use percent_encoding::percent_decode;

use crate::publication::{Channel, PayloadKind, Publication, UpdateFields};
use crate::topics::{channel_of, is_reserved};

/// The most fields of a form, unknown ones included.
const FIELDS_MAX: usize = 256;

/// Most bytes of what an update says besides its data, as JSON: it becomes a part of the header line.
pub const UPDATE_BYTES_MAX: usize = 2048;

/// Bytes of a form besides the data: more than the fields may have when each byte is percent-encoded.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Bytes of a percent-encoded byte.
const ENCODED: usize = 3;

/// The type of the events that only a hub itself publishes.
const RESERVED_TYPE: &str = "mercure";

/// Most bytes of a form. `bytes_max`: of its data.
pub fn form_bytes_max(bytes_max: usize) -> usize {
    HEAD_BYTES_MAX.saturating_add(bytes_max.saturating_mul(ENCODED))
}

/// Why a form is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum FormRefused {
    BadRequest(String),
    TooLarge(String),
}

/// An update, and the channels on which it is published.
#[derive(Debug, PartialEq, Eq)]
pub struct Update {
    /// Each once, that of the canonical topic first.
    pub channels: Vec<Channel>,
    pub publication: Publication,
}

impl Update {
    /// The id of the update where its channel keeps no history.
    pub fn event_id(&self) -> &str {
        let update = self.publication.update.as_deref();
        update.and_then(|update| update.event_id.as_deref()).unwrap_or_default()
    }

    /// Reads a form. `bytes_max`: of the data.
    pub fn read(form: &[u8], bytes_max: usize) -> Result<Self, FormRefused> {
        let mut fields = FormFields::default();
        for (count, (name, value)) in pairs(form).enumerate() {
            if count == FIELDS_MAX {
                return Err(too_large(format!("a form has at most {FIELDS_MAX} fields")));
            }
            let (Ok(name), Ok(value)) = (text(name), text(value)) else {
                return Err(bad("the names and values of a form are UTF-8, percent-encoded"));
            };
            fields.add(&name, value)?;
        }
        fields.update(bytes_max)
    }
}

/// The names and values of a form or query, not yet decoded.
pub fn pairs(form: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let parts = form.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
    parts.map(|part| match part.iter().position(|byte| *byte == b'=') {
        Some(at) => (&part[..at], &part[at + 1..]),
        None => (part, &[][..]),
    })
}

/// Decodes a name or a value (the URL standard, section 5.1).
fn text(encoded: &[u8]) -> Result<String, std::string::FromUtf8Error> {
    let spaced: Cow<'_, [u8]> = match encoded.contains(&b'+') {
        true => encoded.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect(),
        false => encoded.into(),
    };
    String::from_utf8(percent_decode(&spaced).collect())
}

#[derive(Default)]
struct FormFields {
    topics: Vec<Channel>,
    data: Option<String>,
    is_private: bool,
    id: Option<String>,
    event: Option<String>,
    retry: Option<String>,
}

impl FormFields {
    fn add(&mut self, name: &str, value: String) -> Result<(), FormRefused> {
        let once = |field: &mut Option<String>, value| match field.replace(value) {
            None => Ok(()),
            Some(_) => Err(bad(format!("give {name} once"))),
        };
        match name {
            "topic" => self.add_topic(&value),
            "data" => once(&mut self.data, value),
            "private" => {
                self.is_private = true;
                Ok(())
            }
            "id" => once(&mut self.id, value),
            "type" => once(&mut self.event, value),
            "retry" => once(&mut self.retry, value),
            // A later version of the protocol may have more.
            _ => Ok(()),
        }
    }

    fn add_topic(&mut self, topic: &str) -> Result<(), FormRefused> {
        if topic == "*" {
            return Err(bad("topic: * is reserved: it selects every topic"));
        }
        if is_reserved(topic) {
            return Err(bad("topic: what is below /.well-known/mercure is reserved for the hub"));
        }
        let channel = channel_of(topic).map_err(|invalid| bad(format!("topic: {invalid}")))?;
        if self.topics.contains(&channel) {
            return Ok(());
        }
        if self.topics.len() == UpdateFields::TOPICS_MAX {
            let most = UpdateFields::TOPICS_MAX;
            return Err(too_large(format!("topic: an update has at most {most} topics")));
        }
        self.topics.push(channel);
        Ok(())
    }

    fn update(self, bytes_max: usize) -> Result<Update, FormRefused> {
        let Self { topics, data, is_private, id, event, retry } = self;
        if topics.is_empty() {
            return Err(bad(
                "topic is missing: give the topic of the update, and further ones behind it",
            ));
        }
        let data = data.unwrap_or_default();
        if data.len() > bytes_max {
            return Err(too_large(format!(
                "data has more than session.message_bytes_max = {bytes_max} bytes"
            )));
        }
        let line = |name: &str, text: Option<String>| {
            // Clients send an empty field for none.
            let text = text.filter(|text| !text.is_empty());
            let text = text.map(|text| UpdateFields::text(&text)).transpose();
            text.map_err(|invalid| bad(format!("{name}: {invalid}")))
        };
        let (event_id, event) = (line("id", id)?, line("type", event)?);
        if event_id.as_deref().is_some_and(|id| id.starts_with('#') || id == super::EARLIEST) {
            return Err(bad("id: must not begin with # and must not be earliest"));
        }
        if event.as_deref() == Some(RESERVED_TYPE) {
            return Err(bad("type: mercure is reserved for the hub"));
        }
        let update = UpdateFields {
            is_private,
            event,
            event_id: Some(event_id.unwrap_or_else(|| super::events::new_id().into())),
            retry_ms: retry.filter(|retry| !retry.is_empty()).map(milliseconds).transpose()?,
            topics: match topics.len() {
                1 => Box::default(),
                _ => topics.iter().map(|topic| topic.as_str().into()).collect(),
            },
        };
        if bytes_of(&update) > UPDATE_BYTES_MAX {
            return Err(too_large(format!(
                "the topics, the id and the type of an update have together at most {UPDATE_BYTES_MAX} bytes"
            )));
        }
        let publication = Publication {
            update: Some(Box::new(update)),
            ..Publication::new(Bytes::from(data), PayloadKind::Text)
        };
        Ok(Update { channels: topics, publication })
    }
}

/// The size of the fields as JSON, in which a quote takes two bytes.
fn bytes_of(update: &UpdateFields) -> usize {
    let bytes = |text: &str| {
        text.bytes().map(|byte| 1 + usize::from(matches!(byte, b'"' | b'\\'))).sum::<usize>() + 3
    };
    let texts = [&update.event, &update.event_id].into_iter().flatten();
    let topics = update.topics.iter().map(|topic| bytes(topic)).sum::<usize>();
    texts.map(|text| bytes(text)).sum::<usize>() + topics
}

fn milliseconds(text: String) -> Result<u64, FormRefused> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number);
    number.ok_or_else(|| bad("retry: a whole number of milliseconds in digits"))
}

fn bad(what: impl Into<String>) -> FormRefused {
    FormRefused::BadRequest(what.into())
}

fn too_large(what: String) -> FormRefused {
    FormRefused::TooLarge(what)
}
