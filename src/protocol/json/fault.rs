//! Messages that are no valid command: which fault the client is told.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::close::Close;
use crate::protocol::{Code, DecodeError, Id, ReplyError};

/// Most bytes of the description of a fault, because it may quote the message.
const FAULT_BYTES_MAX: usize = 200;

pub const NOT_AN_OBJECT: DecodeError =
    DecodeError::Close(Close::Unsupported("a message is one JSON object"));

/// The fields of commands, and the type of each, as the description of a fault names it.
const FIELDS: [(&str, FieldType); 14] = [
    ("type", FieldType::Text),
    ("id", FieldType::Integer),
    ("channel", FieldType::Text),
    ("channels", FieldType::Object),
    ("pattern", FieldType::Text),
    ("since", FieldType::Text),
    ("last", FieldType::Integer),
    ("echo", FieldType::Flag),
    ("limit", FieldType::Integer),
    ("text", FieldType::Text),
    ("base64", FieldType::Text),
    ("idempotency_key", FieldType::Text),
    ("traceparent", FieldType::Text),
    ("token", FieldType::Text),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldType {
    Text,
    Integer,
    Flag,
    Object,
}

impl FieldType {
    fn words(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Integer => "a whole number",
            Self::Flag => "true or false",
            Self::Object => "an object",
        }
    }

    /// Whether the JSON is of this type. `null` stands for an absent field.
    fn matches(self, json: &str) -> bool {
        let first = match self {
            _ if json == "null" => return true,
            Self::Integer => return json.parse::<i64>().is_ok(),
            Self::Flag => return matches!(json, "true" | "false"),
            Self::Text => '"',
            Self::Object => '{',
        };
        json.starts_with(first)
    }
}

/// Distinguishes a JSON object with a wrong field from a message that is not JSON.
pub fn malformed(payload: &[u8], error: &serde_json::Error) -> DecodeError {
    if serde_json::from_slice::<IgnoredAny>(payload).is_err() {
        return NOT_AN_OBJECT;
    }
    let id = id_of(payload);
    if let Some(what) = mistyped(payload) {
        return DecodeError::Answer(bad_request(id, what));
    }
    // The position in the text does not help, because clients write the object with a library.
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(&*text, |(what, _)| what);
    // It quotes the message; the reply must not become larger than that.
    let end = what.floor_char_boundary(FAULT_BYTES_MAX);
    DecodeError::Answer(bad_request(id, what[..end].to_owned()))
}

/// The first field with a wrong type. serde's own description does not name the field.
fn mistyped(object: &[u8]) -> Option<String> {
    let given: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(object).ok()?;
    let is_wrong = |(name, kind): &&(&str, FieldType)| {
        given.get(*name).is_some_and(|json| !kind.matches(json.get()))
    };
    let (name, kind) = FIELDS.iter().find(is_wrong)?;
    Some(format!("{name} must be {}", kind.words()))
}

/// The `id` of a command that is otherwise invalid.
pub fn id_of(payload: &[u8]) -> Option<Id> {
    #[derive(Deserialize)]
    struct OnlyId {
        id: Option<i64>,
    }
    serde_json::from_slice::<OnlyId>(payload).ok()?.id.map(Id::from)
}

pub fn bad_request(id: Option<Id>, message: String) -> ReplyError {
    ReplyError { id, channel: None, code: Code::BadRequest, message }
}
