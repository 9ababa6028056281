//! The plain protocol: a frame is a publication, a publication is a frame.

use bytes::Bytes;

use super::close_code::close_frame;
use super::{Command, Decoded, Encode, Format, Message, Push, Reply, ReplyError, Speak};
use crate::close::Close;
use crate::framing::websocket;
use crate::publication::{Channel, Publication, Traceparent};

/// The subprotocol that a plain client may ask for, so that a browser, which gives up without an answer, can carry
/// its token in `Sec-WebSocket-Protocol` beside it.
pub const SUBPROTOCOL: &str = "tidegate.v1.plain";

/// A session of the plain protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    pub channel: Channel,
    /// That of the session's upgrade: its publications follow it. In a box, as few have one.
    pub traceparent: Option<Box<Traceparent>>,
}

impl Speak for Plain {
    fn decode(&self, message: Message, _: usize) -> Decoded {
        let publication = Publication {
            traceparent: self.traceparent.as_deref().copied(),
            ..Publication::new(message.payload, message.kind)
        };
        Ok(vec![Ok(Command::Publish { id: None, channel: self.channel.clone(), publication })])
    }

    fn reply(&self, _: &Reply) -> Option<Bytes> {
        None
    }

    /// The client cannot be told which frame was lost, so the connection's end tells it that one was.
    fn refuse(&self, _: ReplyError, close: Close) -> Result<Reply, Close> {
        Err(close)
    }

    fn format(&self) -> Format {
        Format::Plain
    }

    fn channel(&self) -> Option<&Channel> {
        Some(&self.channel)
    }

    fn publishes(&self) -> bool {
        true
    }

    fn subscribes_listed(&self) -> bool {
        false
    }
}

/// Publications as they are.
pub struct PlainFrames;

impl Encode for PlainFrames {
    fn publication(_: &str, publication: &Publication) -> Bytes {
        websocket::message(publication.kind, &publication.payload)
    }

    fn push(_: &Push<'_>) -> Option<Bytes> {
        None
    }

    fn heartbeat() -> Option<Bytes> {
        None
    }

    fn close(close: Close) -> Option<Bytes> {
        Some(close_frame(close))
    }
}
