//! What a publisher says of its publication besides the payload.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a publisher says of its publication besides the payload, as the header line carries it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct MessageProperties {
    /// The quality of service with which an MQTT client published it. None: it was published in another way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<u8>,
    /// Whether the publisher asked to retain it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retain: bool,
    /// Whether the publisher says that the payload is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utf8: Option<bool>,
    /// Seconds after which it is no longer delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_topic: Option<String>,
    /// Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    /// Names and values, in their order; a name may be there several times.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub user: Vec<(String, String)>,
}

/// Most bytes of the properties as JSON, so that they fit the header line.
pub const PROPERTIES_BYTES_MAX: usize = 2048;

impl MessageProperties {
    /// Whether they fit the header line.
    pub fn fits(&self) -> bool {
        serde_json::to_vec(self).is_ok_and(|json| json.len() <= PROPERTIES_BYTES_MAX)
    }

    /// When it expires, if it does. `sent_at`: Unix microseconds.
    pub fn expires_at(&self, sent_at: Option<u64>) -> Option<Duration> {
        let sent_at = Duration::from_micros(sent_at?);
        Some(sent_at + Duration::from_secs(u64::from(self.expiry?)))
    }
}
