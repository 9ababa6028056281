//! The events of a live durable stream: each message in an event `data`, and behind it an event `control` with the offset
//! from which the client resumes.
//!
//! All clients share a publication's bytes, which are its position and payload. Each session's [`Stamp`] makes its events
//! of them, because the stream's content type and the client's cursor decide how they look.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde_json::json;

use super::durable::{
    ContentClass, DELETED, add_event, body_of, end_event, next_cursor, offset_text,
};
use super::{
    DecodeError, Decoded, Encode, Format, Message, Packets, Push, Reply, ReplyError,
    SessionControl, Speak, Stamp, Will,
};
use crate::close::Close;
use crate::framing::sse::COMMENT;
use crate::publication::{
    Channel, EndReason, PayloadKind, Position, Publication, ReplayStart, SessionId,
};

/// A session of requests about streams, or one that follows a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Streams {
    Request,
    Follow(FollowedStream),
}

/// The stream that a session follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedStream {
    pub channel: Channel,
    pub class: ContentClass,
    /// Behind the last message that the client has.
    pub start: Position,
    /// The cursor that the client has sent.
    pub cursor: Option<u64>,
}

impl Speak for Streams {
    fn begin(&mut self, _: SessionId) {}

    fn packets(&self) -> Option<Box<dyn Packets>> {
        None
    }

    fn decode(&self, _: Message, _: usize) -> Decoded {
        Err(DecodeError::Close(Close::Unsupported(
            "the client must not send data on this connection",
        )))
    }

    fn reply(&self, reply: &Reply) -> Option<Bytes> {
        let Reply::Subscribed { position, .. } = reply else { return None };
        Some(frame(SUBSCRIBED, position.unwrap_or(Position::MIN), &[]))
    }

    fn nothing_kept(&self, _: &Channel) -> Option<Bytes> {
        None
    }

    fn refuse(&self, error: ReplyError, close: Close) -> Result<Reply, Close> {
        match self {
            Self::Request => Ok(Reply::Error(error)),
            Self::Follow(_) => Err(close),
        }
    }

    fn format(&self) -> Format {
        Format::Streams
    }

    fn subscription(&self, _: &Channel) -> (Format, Option<Stamp>) {
        (self.format(), None)
    }

    fn last_bytes(&self, close: Close) -> Option<Bytes> {
        self.format().close(close)
    }

    fn channels(&self) -> &[Channel] {
        match self {
            Self::Request => &[],
            Self::Follow(followed) => std::slice::from_ref(&followed.channel),
        }
    }

    fn start_of_run(&mut self) -> Option<ReplayStart> {
        None
    }

    fn stamp(&self) -> Option<Stamp> {
        let Self::Follow(FollowedStream { class, start, cursor, .. }) = *self else { return None };
        let mut events = StreamEvents { class, start, cursor, joined_at: Position::MIN };
        Some(Box::new(move |frame| events.of(frame)))
    }

    fn member_stamp(&self) -> Option<Stamp> {
        None
    }

    fn takes_tokens(&self) -> bool {
        true
    }

    fn take_will(&self, _: Close) -> Option<Will> {
        None
    }

    fn publishes(&self) -> bool {
        false
    }

    fn subscribes_listed(&self) -> bool {
        false
    }

    fn control(&self) -> Option<&dyn SessionControl> {
        None
    }
}

// What a frame begins with; then follow epoch and sequence number of a position, and the rest. No Server-Sent Event
// begins with such a byte.
const TEXT: u8 = 1;
const BINARY: u8 = 2;
/// A publication that the history does not have, so that it is not in the stream.
const OUTSIDE: u8 = 3;
/// The rest is the reason.
const ENDED: u8 = 4;
const SUBSCRIBED: u8 = 5;

fn frame(kind: u8, position: Position, rest: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(1 + 2 * size_of::<u64>() + rest.len());
    frame.put_u8(kind);
    frame.put_u64(position.epoch);
    frame.put_u64(position.seq);
    frame.put_slice(rest);
    frame.freeze()
}

/// Makes the events of one client.
struct StreamEvents {
    class: ContentClass,
    start: Position,
    cursor: Option<u64>,
    /// The last position when the client subscribed: behind it, the client has everything.
    joined_at: Position,
}

impl StreamEvents {
    /// The events of a frame. None: there are none.
    fn of(&mut self, mut frame: Bytes) -> Option<Bytes> {
        let Some(kind @ TEXT..=SUBSCRIBED) = frame.first().copied() else { return Some(frame) };
        frame.advance(1);
        let position =
            Position { epoch: frame.try_get_u64().ok()?, seq: frame.try_get_u64().ok()? };
        let mut events = Vec::new();
        match kind {
            SUBSCRIBED => {
                self.joined_at = position;
                if self.start < position {
                    return None;
                }
                self.add_control(&mut events, position);
            }
            ENDED if frame == DELETED.as_bytes() => return None,
            ENDED => {
                let last = Position { seq: position.seq.saturating_sub(1), ..position };
                return Some(end_event(last));
            }
            OUTSIDE => return None,
            _ => {
                let kind = if kind == TEXT { PayloadKind::Text } else { PayloadKind::Binary };
                add_event(&mut events, "data", &data(self.class, kind, &frame));
                self.add_control(&mut events, position);
            }
        }
        Some(events.into())
    }

    fn add_control(&mut self, events: &mut Vec<u8>, next: Position) {
        let cursor = next_cursor(self.cursor);
        let mut control =
            json!({ "streamNextOffset": offset_text(next), "streamCursor": cursor.to_string() });
        if next >= self.joined_at {
            control["upToDate"] = true.into();
        }
        add_event(events, "control", control.to_string().as_bytes());
    }
}

/// A message as the data of an event, which is text.
fn data(class: ContentClass, kind: PayloadKind, payload: &[u8]) -> Vec<u8> {
    match class {
        ContentClass::Values => body_of(class, std::iter::once((kind, payload))).into(),
        ContentClass::Text => String::from_utf8_lossy(payload).into_owned().into_bytes(),
        ContentClass::Bytes => STANDARD.encode(payload).into_bytes(),
    }
}

/// The shared bytes of publications.
pub struct StreamFrames;

impl Encode for StreamFrames {
    fn publication(_: &str, publication: &Publication) -> Bytes {
        let Some(position) = publication.position else {
            return frame(OUTSIDE, Position::MIN, &[]);
        };
        let kind = match publication.kind {
            PayloadKind::Text | PayloadKind::TextPart => TEXT,
            PayloadKind::Binary => BINARY,
        };
        frame(kind, position, &publication.payload)
    }

    /// A stream in which messages are missing is of no use: the session ends, and its client asks again.
    fn push(push: &Push<'_>) -> Option<Bytes> {
        match push {
            Push::Ended { reason, position, .. } => Some(ended(reason, *position)),
            Push::Welcome { .. }
            | Push::Gap { .. }
            | Push::PatternGap { .. }
            | Push::Presence { .. }
            | Push::Reconnect { .. } => None,
        }
    }

    fn close_at_end() -> Option<Close> {
        Some(Close::Ended { is_told: true })
    }

    fn heartbeat() -> Option<Bytes> {
        Some(Bytes::from_static(COMMENT))
    }

    fn close(_: Close) -> Option<Bytes> {
        None
    }

    /// The client resumes when the connection ends, however it ends.
    fn breaks_off(_: Close) -> bool {
        false
    }
}

fn ended(reason: &EndReason, position: Option<Position>) -> Bytes {
    frame(ENDED, position.unwrap_or(Position::MIN), reason.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Option<Position> {
        Some(Position { epoch: 7, seq })
    }

    fn message(seq: u64, payload: &'static [u8]) -> Publication {
        Publication { position: at(seq), ..Publication::bare(Bytes::from_static(payload)) }
    }

    /// What a client reads that begins behind the fourth of these messages.
    fn events(class: ContentClass, joined_at: u64, messages: &[Publication]) -> Vec<String> {
        let channel = Channel::new("s").unwrap();
        let start = Position { epoch: 7, seq: 4 };
        let followed = FollowedStream { channel: channel.clone(), class, start, cursor: None };
        let protocol = Streams::Follow(followed);
        let stamp = protocol.stamp().unwrap();
        let position = at(joined_at);
        let subscribed = Reply::Subscribed { id: None, channel, position, recovered: Some(true) };
        let first = protocol.reply(&subscribed);
        let frames = messages.iter().map(|it| Format::Streams.publication("s", it));
        let written = first.into_iter().chain(frames).filter_map(stamp);
        let text = String::from_utf8(written.flatten().collect()).unwrap();
        text.split_terminator("\n\n").map(str::to_owned).collect()
    }

    fn control(event: &str) -> serde_json::Value {
        serde_json::from_str(event.strip_prefix("event: control\ndata:").unwrap()).unwrap()
    }

    #[test]
    fn each_message_is_followed_by_the_offset_behind_it() {
        let events = events(ContentClass::Text, 6, &[message(5, b"a\r\n b\n"), message(6, b"c")]);
        assert_eq!(events[0], "event: data\ndata:a\ndata:  b\ndata:");
        let first = control(&events[1]);
        assert_eq!(first["streamNextOffset"], offset_text(at(5).unwrap()));
        assert!(first["streamCursor"].is_string() && first.get("upToDate").is_none());
        assert_eq!(events[2], "event: data\ndata:c");
        assert_eq!(control(&events[3])["upToDate"], true);
    }

    #[test]
    fn a_client_without_a_backlog_gets_its_offset_at_once_and_the_end_has_no_cursor() {
        let end = Publication { end: EndReason::new("done").ok(), ..message(5, b"") };
        let events = events(ContentClass::Values, 4, &[end]);
        let first = control(&events[0]);
        assert_eq!(first["streamNextOffset"], offset_text(at(4).unwrap()));
        assert_eq!(first["upToDate"], true);
        let last = control(&events[1]);
        assert_eq!(last["streamClosed"], true);
        assert_eq!(last["streamNextOffset"], offset_text(at(4).unwrap()));
        assert!(last.get("streamCursor").is_none());
    }

    #[test]
    fn json_messages_are_arrays_and_bytes_are_in_base64() {
        assert_eq!(
            events(ContentClass::Values, 5, &[message(5, b"{}")])[0],
            "event: data\ndata:[{}]"
        );
        assert_eq!(
            events(ContentClass::Bytes, 5, &[message(5, b"\xff")])[0],
            "event: data\ndata:/w=="
        );
        let outside = Publication { position: None, ..message(5, b"x") };
        assert_eq!(events(ContentClass::Text, 5, &[outside]), [""; 0]);
        let deleted = Publication { end: EndReason::new(DELETED).ok(), ..message(5, b"") };
        assert_eq!(events(ContentClass::Text, 5, &[deleted]), [""; 0]);
    }
}
