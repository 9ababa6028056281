//! The messages of a node that the suites use.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

use crate::log::{Position, PublisherNumber};

#[derive(Deserialize)]
pub struct ServerMessage<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    pub id: Option<u64>,
    #[serde(borrow)]
    pub channel: Option<Cow<'a, str>>,
    pub data: Option<Payload>,
    #[serde(default, deserialize_with = "position")]
    pub position: Option<Position>,
    pub recovered: Option<bool>,
    #[serde(borrow)]
    pub reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub code: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub message: Option<Cow<'a, str>>,
    pub temporary: Option<bool>,
    /// Of `reconnect`.
    pub after_ms: Option<u64>,
    /// Of `welcome`: the node's name.
    #[serde(borrow)]
    pub node: Option<Cow<'a, str>>,
}

/// The payload of every publication of the suites. The padding is ignored.
#[derive(Deserialize)]
pub struct Payload {
    pub p: PublisherNumber,
    pub n: u64,
}

impl Payload {
    /// The payload, with `padding` more bytes.
    pub fn text(&self, padding: usize) -> String {
        format!(r#"{{"p":{},"n":{},"pad":"{}"}}"#, self.p, self.n, "x".repeat(padding))
    }
}

impl<'a> ServerMessage<'a> {
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

fn position<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Position>, D::Error> {
    let text = Option::<Cow<str>>::deserialize(from)?;
    match text {
        None => Ok(None),
        Some(text) => match Position::parse(&text) {
            Some(position) => Ok(Some(position)),
            None => Err(serde::de::Error::custom("a position is <epoch>-<seq>")),
        },
    }
}
