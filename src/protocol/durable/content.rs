//! The content of a stream: its type, the messages of a request's body, and the body with messages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::publication::{PayloadKind, Publication};

/// Most messages of one request.
pub const MESSAGES_MAX: usize = 1000;

/// A media type, as the client has written it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct ContentType(String);

/// How a stream's content is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentClass {
    /// `application/json`: messages are JSON values.
    Values,
    /// `text/*`: bytes that are text.
    Text,
    /// Any other type.
    Bytes,
}

/// Why a body has no messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMessages {
    InvalidJson,
    /// `[]`.
    EmptyArray,
    TooMany,
}

/// Longest content type, in bytes.
const TYPE_BYTES_MAX: usize = 255;

impl ContentType {
    /// None: it is no media type.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        let (kind, subtype) = text.split(';').next()?.trim_ascii().split_once('/')?;
        let is_token = |word: &str| {
            let is_of_token =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-*".contains(&byte);
            !word.is_empty() && word.bytes().all(is_of_token)
        };
        let fits =
            text.len() <= TYPE_BYTES_MAX && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        (is_token(kind) && is_token(subtype) && fits).then(|| Self(text.to_owned()))
    }

    /// The type of a stream whose creator gave none.
    pub fn bytes() -> Self {
        Self("application/octet-stream".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The type without its parameters, in lower case.
    fn essence(&self) -> String {
        self.0.split(';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase()
    }

    /// Whether both are the same type, whatever their parameters are.
    pub fn is_same(&self, other: &Self) -> bool {
        self.essence() == other.essence()
    }

    pub fn class(&self) -> ContentClass {
        match &*self.essence() {
            "application/json" => ContentClass::Values,
            essence if essence.starts_with("text/") => ContentClass::Text,
            _ => ContentClass::Bytes,
        }
    }
}

/// The messages of a body that is not empty: the elements of a JSON array, or all of it.
pub fn messages_of(class: ContentClass, body: Bytes) -> Result<Vec<Publication>, NoMessages> {
    match class {
        ContentClass::Bytes => Ok(vec![Publication::new(body, PayloadKind::Binary)]),
        ContentClass::Text => Ok(vec![Publication::bare(body)]),
        ContentClass::Values => values_of(&body),
    }
}

fn values_of(body: &[u8]) -> Result<Vec<Publication>, NoMessages> {
    let message = |value: &RawValue| {
        let json = Bytes::copy_from_slice(value.get().as_bytes());
        Publication::new(json, PayloadKind::Text)
    };
    let is_array = body.trim_ascii_start().starts_with(b"[");
    if !is_array {
        let value = serde_json::from_slice(body).map_err(|_| NoMessages::InvalidJson)?;
        return Ok(vec![message(value)]);
    }
    let values: Vec<&RawValue> =
        serde_json::from_slice(body).map_err(|_| NoMessages::InvalidJson)?;
    match values.len() {
        0 => Err(NoMessages::EmptyArray),
        1..=MESSAGES_MAX => Ok(values.into_iter().map(message).collect()),
        _ => Err(NoMessages::TooMany),
    }
}

/// The body with these messages.
pub fn body_of<'a>(
    class: ContentClass,
    messages: impl Iterator<Item = (PayloadKind, &'a [u8])>,
) -> Bytes {
    let mut body = Vec::new();
    if class != ContentClass::Values {
        messages.for_each(|(_, payload)| body.extend_from_slice(payload));
        return body.into();
    }
    body.push(b'[');
    for (at, (kind, payload)) in messages.enumerate() {
        if at > 0 {
            body.push(b',');
        }
        add_value(&mut body, kind, payload);
    }
    body.push(b']');
    body.into()
}

/// A message of a JSON stream. One that was published as something else is a string, bytes in base64.
fn add_value(body: &mut Vec<u8>, kind: PayloadKind, payload: &[u8]) {
    if kind != PayloadKind::Binary && serde_json::from_slice::<&RawValue>(payload).is_ok() {
        body.extend_from_slice(payload);
        return;
    }
    let text = match kind {
        PayloadKind::Binary => STANDARD.encode(payload),
        _ => String::from_utf8_lossy(payload).into_owned(),
    };
    serde_json::to_writer(body, &text).expect("every text can be written to a vector");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &'static str) -> Result<Vec<String>, NoMessages> {
        let messages = messages_of(ContentClass::Values, Bytes::from_static(body.as_bytes()))?;
        let text = |it: Publication| String::from_utf8(it.payload.to_vec()).unwrap();
        Ok(messages.into_iter().map(text).collect())
    }

    #[test]
    fn one_level_of_a_json_array_is_flattened() {
        assert_eq!(texts(r#" {"a": 1.50} "#).unwrap(), [r#"{"a": 1.50}"#]);
        assert_eq!(texts("[1, [2,3],\n\"x\"]").unwrap(), ["1", "[2,3]", "\"x\""]);
        assert_eq!(texts("[[[1]]]").unwrap(), ["[[1]]"]);
        assert_eq!(texts("[]"), Err(NoMessages::EmptyArray));
        for bad in ["", "{", "[1", "[1]]", "nul", "{\"a\":}"] {
            assert_eq!(texts(bad), Err(NoMessages::InvalidJson), "{bad}");
        }
        let many = format!("[{}1]", "1,".repeat(MESSAGES_MAX));
        let refused = messages_of(ContentClass::Values, many.into()).unwrap_err();
        assert_eq!(refused, NoMessages::TooMany);
    }

    #[test]
    fn a_json_body_is_an_array_whatever_was_published() {
        use PayloadKind::{Binary, Text};
        let some: [(PayloadKind, &[u8]); 4] =
            [(Text, b"{\"a\":1}"), (Text, b"hello \"x\""), (Binary, b"\xff"), (Text, b"")];
        let body = body_of(ContentClass::Values, some.into_iter());
        assert_eq!(&body[..], br#"[{"a":1},"hello \"x\"","/w==",""]"#);
        assert_eq!(&body_of(ContentClass::Values, std::iter::empty())[..], b"[]");
        let body = body_of(ContentClass::Bytes, some.into_iter());
        assert_eq!(&body[..], b"{\"a\":1}hello \"x\"\xff");
    }

    #[test]
    fn content_types_are_compared_without_parameters_and_case() {
        let of = |text: &str| ContentType::parse(text).unwrap();
        assert!(of("Text/Plain; charset=utf-8").is_same(&of("text/plain")));
        assert_eq!(of("application/json;charset=utf-8").class(), ContentClass::Values);
        assert_eq!(of("text/csv").class(), ContentClass::Text);
        assert_eq!(of("application/x-protobuf").class(), ContentClass::Bytes);
        for bad in ["", "text", "/plain", "text/", "te xt/plain", "a/b\u{e4}"] {
            assert_eq!(ContentType::parse(bad), None, "{bad:?}");
        }
    }
}
