//! Answers to requests about streams.

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::json;

use super::offset::offset_text;
use crate::publication::Position;

const NEXT_OFFSET: &str = "stream-next-offset";
pub const CLOSED: &str = "stream-closed";
const UP_TO_DATE: &str = "stream-up-to-date";
const EARLIEST_OFFSET: &str = "stream-earliest-offset";

/// Headers of all answers: browsers do not take content for another type, and pages of other sites do not embed it.
pub const HEADERS: [(&str, &str); 2] =
    [("x-content-type-options", "nosniff"), ("cross-origin-resource-policy", "same-origin")];

/// Request headers that a page may send, behind those that it may send to every path.
pub const REQUEST_HEADERS: &str = ", if-none-match, producer-epoch, producer-id, producer-seq, stream-closed, \
    stream-expires-at, stream-fork-offset, stream-fork-sub-offset, stream-forked-from, stream-seq, stream-ttl";

/// Response headers that a page may read.
pub const RESPONSE_HEADERS: &str = "etag, location, producer-epoch, producer-expected-seq, producer-received-seq, \
    producer-seq, stream-closed, stream-cursor, stream-earliest-offset, stream-expires-at, stream-next-offset, \
    stream-sse-data-encoding, stream-ttl, stream-up-to-date";

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAnswer {
    pub status: StatusCode,
    /// Names are in lower case, and values are visible ASCII.
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

impl StreamAnswer {
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The offset behind all that the answer is about.
    pub fn next(self, position: Position) -> Self {
        self.with(NEXT_OFFSET, offset_text(position))
    }

    /// Nothing follows.
    pub fn closed(self, is_closed: bool) -> Self {
        if is_closed { self.with(CLOSED, "true") } else { self }
    }

    pub fn up_to_date(self) -> Self {
        self.with(UP_TO_DATE, "true")
    }

    pub fn body(self, body: Bytes) -> Self {
        Self { body, ..self }
    }

    fn error(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let error = json!({ "error": { "code": code, "message": message.into() } });
        let answer = Self::new(status).with("content-type", "application/json");
        answer.with("cache-control", "no-store").body(format!("{error}\n").into())
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::error(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::error(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// There is no stream on the channel.
    pub fn no_stream() -> Self {
        Self::not_found("there is no stream on this channel: PUT creates one")
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::error(StatusCode::CONFLICT, "conflict", message)
    }

    /// The stream is closed, with this last offset.
    pub fn ended(position: Position) -> Self {
        let message = "the stream is closed: nothing can be appended any more";
        Self::error(StatusCode::CONFLICT, "ended", message).next(position).closed(true)
    }

    /// The stream was deleted, and forks of it still exist.
    pub fn deleted() -> Self {
        Self::error(StatusCode::GONE, "gone", "the stream was deleted, and has forks that are not")
    }

    /// What follows the client's offset is not kept any more. `earliest`: the first offset that can be read.
    pub fn trimmed(earliest: Position) -> Self {
        let message = "messages behind this offset are not kept any more; those that are begin at the \
                       offset in Stream-Earliest-Offset";
        let answer = Self::error(StatusCode::GONE, "gone", message);
        answer.with(EARLIEST_OFFSET, offset_text(earliest))
    }

    pub fn too_large(message: impl Into<String>) -> Self {
        Self::error(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub fn limit_reached(message: impl Into<String>) -> Self {
        Self::error(StatusCode::TOO_MANY_REQUESTS, "limit_reached", message)
    }

    /// A later epoch of the producer is known.
    pub fn stale_epoch(current: u64) -> Self {
        let message = format!("the producer's epoch is {current}: another instance took over");
        let answer = Self::error(StatusCode::FORBIDDEN, "stale_epoch", message);
        answer.with("producer-epoch", current.to_string())
    }

    /// Messages of the producer are missing before this one.
    pub fn sequence_gap(expected: u64, received: u64) -> Self {
        let message = format!("Producer-Seq is {received}, and {expected} is next");
        Self::conflict(message)
            .with("producer-expected-seq", expected.to_string())
            .with("producer-received-seq", received.to_string())
    }
}
