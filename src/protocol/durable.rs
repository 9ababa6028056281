//! The parts of the Durable Streams protocol: requests, answers, offsets, and the content of streams.
//!
//! What a stream is, and what follows from a request, is in the module `streams`; the events of a live stream are a protocol
//! of their own, [`streams`](super::streams).

mod answer;
mod content;
mod cursor;
mod events;
mod expiry;
mod offset;
mod request;

/// The reason of the end of a stream that was deleted. Its clients learn from their next request that it is gone.
pub const DELETED: &str = "deleted";

pub use self::answer::{HEADERS, REQUEST_HEADERS, RESPONSE_HEADERS, StreamAnswer};
pub use self::content::{
    ContentClass, ContentType, MESSAGES_MAX, NoMessages, body_of, messages_of,
};
pub use self::cursor::next_cursor;
pub use self::events::{add_event, end_event, events_head};
pub use self::expiry::StreamExpiry;
pub use self::offset::{StreamOffset, offset_text};
pub use self::request::{
    AppendRequest, CreateRequest, ForkRequest, ID_BYTES_MAX, Producer, ReadRequest, StreamQuery,
    StreamRequest,
};
