//! A command as the client sent it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::protocol::Id;

/// Channels and from where to replay each, in the client's order, which is also that of the replies.
pub type RequestedChannels<'a> = Vec<(String, &'a RawValue)>;

/// A command before validation. Unknown fields are ignored, for clients newer than the node.
#[derive(Deserialize)]
pub struct RawCommand<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Option<Cow<'a, str>>,
    pub id: Option<i64>,
    #[serde(borrow)]
    pub channel: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "in_order")]
    pub channels: Option<RequestedChannels<'a>>,
    #[serde(borrow)]
    pub pattern: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub since: Option<Cow<'a, str>>,
    pub last: Option<i64>,
    pub echo: Option<bool>,
    pub limit: Option<i64>,
    /// Some also for `null`, which is a valid payload.
    #[serde(borrow, default, deserialize_with = "present")]
    pub data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub base64: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub idempotency_key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub traceparent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub token: Option<Cow<'a, str>>,
}

impl RawCommand<'_> {
    pub fn id(&self) -> Option<Id> {
        self.id.map(Id::from)
    }
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn in_order<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<RequestedChannels<'de>>, D::Error> {
    struct InOrder;

    impl<'de> Visitor<'de> for InOrder {
        type Value = RequestedChannels<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of channels, each with a position or null")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut channels = Vec::new();
            while let Some(entry) = map.next_entry::<String, _>()? {
                channels.push(entry);
            }
            let names: HashSet<&str> = channels.iter().map(|(name, _)| name.as_str()).collect();
            if names.len() < channels.len() {
                return Err(serde::de::Error::custom("channels contains a name twice"));
            }
            Ok(channels)
        }
    }

    deserializer.deserialize_map(InOrder).map(Some)
}
