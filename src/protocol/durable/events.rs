//! The events of a live stream, as text.

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::json;

use super::answer::StreamAnswer;
use super::content::ContentClass;
use super::offset::offset_text;
use crate::publication::Position;

const EVENT_STREAM: &str = "text/event-stream";

/// The head of the response.
pub fn events_head(class: ContentClass) -> StreamAnswer {
    let answer = StreamAnswer::new(StatusCode::OK)
        .with("content-type", EVENT_STREAM)
        .with("cache-control", "no-cache, no-store")
        // Makes nginx pass the response on without buffering.
        .with("x-accel-buffering", "no");
    match class {
        ContentClass::Bytes => answer.with("stream-sse-data-encoding", "base64"),
        ContentClass::Values | ContentClass::Text => answer,
    }
}

/// The event of a closed stream with this last offset.
pub fn end_event(last: Position) -> Bytes {
    let mut events = Vec::new();
    let end =
        json!({ "streamNextOffset": offset_text(last), "streamClosed": true, "upToDate": true });
    add_event(&mut events, "control", end.to_string().as_bytes());
    events.into()
}

/// The clients of this protocol expect no space behind the colon. One is added where the line begins with a space, because
/// the first one is taken away.
pub fn add_event(events: &mut Vec<u8>, name: &str, data: &[u8]) {
    events.extend_from_slice(format!("event: {name}\n").as_bytes());
    let mut rest = Some(data);
    while let Some(all) = rest {
        let end = all.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let line = &all[..end.unwrap_or(all.len())];
        events.extend_from_slice(if line.starts_with(b" ") { b"data: " } else { b"data:" });
        events.extend_from_slice(line);
        events.push(b'\n');
        rest = end.map(|end| &all[end + 1 + usize::from(all[end..].starts_with(b"\r\n"))..]);
    }
    events.push(b'\n');
}
