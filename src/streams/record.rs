//! What is stored of a stream in one field.

use serde::{Deserialize, Serialize};

use crate::protocol::durable::{ContentType, StreamExpiry};

/// The field with the record.
pub const META: &str = "meta";

/// The field with the channels of the stream's forks, a JSON array.
pub const FORKS: &str = "forks";

/// The field with the last `Stream-Seq`.
pub const SEQ: &str = "seq";

/// What is stored of a stream, besides fields that change with each message.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct StreamRecord {
    #[serde(rename = "type")]
    pub content_type: ContentType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<StreamExpiry>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// The message with which a producer has closed it: id, epoch and number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<(String, u64, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<ForkRecord>,
    /// It is kept for its forks only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// From where a stream has inherited, as the client has asked for it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ForkRecord {
    pub from: String,
    /// None: at the end of the other stream.
    pub offset: Option<String>,
    pub sub_offset: u64,
}

impl StreamRecord {
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are always JSON")
    }
}
