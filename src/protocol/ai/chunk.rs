//! Publications as chunks of a UI message.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::json;

use super::mark::FrameMark;
use crate::publication::{PayloadKind, Publication, typed_part_type};

/// The id of the text block that holds the plain texts of a run.
pub const TEXT_ID: &str = "0";

/// A publication as a chunk.
pub struct Chunk {
    pub mark: FrameMark,
    pub json: Bytes,
}

impl Chunk {
    /// A typed part is a chunk as it is. A text becomes a part of a text block, bytes become data in base64.
    pub fn of(publication: &Publication) -> Self {
        let payload = &publication.payload;
        if publication.kind == PayloadKind::Binary {
            let json = json!({ "type": "data-binary", "data": BASE64.encode(payload) });
            return Self { mark: FrameMark::Typed, json: json.to_string().into() };
        }
        let kind = match publication.kind {
            PayloadKind::TextPart => None,
            _ => typed_part_type(payload),
        };
        match kind.as_deref() {
            Some(kind) => Self { mark: mark_of(kind), json: payload.clone() },
            None => {
                let delta = String::from_utf8_lossy(payload);
                let json = json!({ "type": "text-delta", "id": TEXT_ID, "delta": delta });
                Self { mark: FrameMark::Text, json: json.to_string().into() }
            }
        }
    }
}

fn mark_of(kind: &str) -> FrameMark {
    match kind {
        "start" => FrameMark::Start,
        "finish" | "abort" | "error" => FrameMark::Last,
        _ => FrameMark::Typed,
    }
}
