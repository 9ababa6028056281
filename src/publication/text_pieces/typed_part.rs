//! The typed parts of a UI message stream, the dialect of the AI SDK: a payload is a JSON object with a `type`, and the
//! text of one block comes in deltas between a start and an end.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The types of parts that add text to a block.
const DELTA_TYPES: [&str; 2] = ["text-delta", "reasoning-delta"];

/// Longest JSON around the text of a delta: its type, its members' names, and the block's id.
const ENVELOPE_BYTES_MAX: usize = 512;

/// A payload that is a typed part.
#[derive(Debug, PartialEq, Eq)]
pub enum TypedPart {
    Delta(Delta),
    /// Any other, also a delta with members that are not known here.
    Other,
}

/// A part that adds text to a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    r#type: String,
    id: String,
    delta: String,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

/// The type of a typed part. None: the payload is text.
pub fn typed_part_type(payload: &[u8]) -> Option<Cow<'_, str>> {
    if payload.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice::<Typed<'_>>(payload).ok().map(|typed| typed.kind)
}

impl TypedPart {
    /// None: the payload is text.
    pub fn read(payload: &[u8]) -> Option<Self> {
        if !DELTA_TYPES.contains(&&*typed_part_type(payload)?) {
            return Some(Self::Other);
        }
        let delta = serde_json::from_slice::<Delta>(payload).ok();
        let delta = delta.filter(|delta| delta.id.len() <= ENVELOPE_BYTES_MAX / 2);
        Some(delta.map_or(Self::Other, Self::Delta))
    }
}

impl Delta {
    /// Appends the text of the next part. Returns whether it belongs to the same block and fits.
    pub fn append(&mut self, next: &Self, bytes_max: usize) -> bool {
        let same_block = (&self.r#type, &self.id) == (&next.r#type, &next.id);
        let bytes = self.delta.len() + next.delta.len() + ENVELOPE_BYTES_MAX;
        let fits = same_block && bytes <= bytes_max;
        if fits {
            self.delta.push_str(&next.delta);
        }
        fits
    }

    pub fn to_payload(&self) -> Bytes {
        Bytes::from(serde_json::to_vec(self).expect("texts can always be written as JSON"))
    }
}
