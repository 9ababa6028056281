//! The plain protocol: a data frame is a publication, a publication is a data frame.

use bytes::Bytes;

use super::close_code::{close_frame, end_frame};
use super::{
    Command, Decoded, Encode, Format, Message, Packets, Push, Reply, ReplyError, SessionControl,
    Speak, Stamp, Will,
};
use crate::close::Close;
use crate::framing::websocket;
use crate::publication::{Channel, Publication, ReplayStart, SessionId, Traceparent};

/// The subprotocol that a plain client may request. A browser closes the connection if the response names no
/// subprotocol of its list, so a browser that sends its token in `Sec-WebSocket-Protocol` needs this one
/// beside it.
pub const SUBPROTOCOL: &str = "tidegate.v1.plain";

/// A session of the plain protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    pub channel: Channel,
    /// The `traceparent` of the upgrade: the session's publications belong to that trace. Boxed, because few
    /// sessions have one.
    pub traceparent: Option<Box<Traceparent>>,
}

impl Speak for Plain {
    fn begin(&mut self, _: SessionId) {}

    fn packets(&self) -> Option<Box<dyn Packets>> {
        None
    }

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

    fn nothing_kept(&self, _: &Channel) -> Option<Bytes> {
        None
    }

    /// The client cannot be told which frame was lost, so the close of the connection reports that one was.
    fn refuse(&self, _: ReplyError, close: Close) -> Result<Reply, Close> {
        Err(close)
    }

    fn format(&self) -> Format {
        Format::Plain
    }

    fn subscription(&self, _: &Channel) -> (Format, Option<Stamp>) {
        (self.format(), None)
    }

    fn last_bytes(&self, close: Close) -> Option<Bytes> {
        self.format().close(close)
    }

    fn channels(&self) -> &[Channel] {
        std::slice::from_ref(&self.channel)
    }

    fn start_of_run(&mut self) -> Option<ReplayStart> {
        None
    }

    fn stamp(&self) -> Option<Stamp> {
        None
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
        true
    }

    fn subscribes_listed(&self) -> bool {
        false
    }

    fn control(&self) -> Option<&dyn SessionControl> {
        None
    }
}

/// Payloads, unchanged, in data frames.
pub struct PlainFrames;

impl Encode for PlainFrames {
    fn publication(_: &str, publication: &Publication) -> Bytes {
        websocket::message(publication.kind, &publication.payload)
    }

    /// The end of a run is the close frame, so that it has its place behind the last publication.
    fn push(push: &Push<'_>) -> Option<Bytes> {
        match push {
            Push::Ended { reason, .. } => Some(end_frame(reason)),
            _ => None,
        }
    }

    fn close_at_end() -> Option<Close> {
        Some(Close::Ended { is_told: true })
    }

    fn heartbeat() -> Option<Bytes> {
        None
    }

    fn close(close: Close) -> Option<Bytes> {
        (close != Close::Ended { is_told: true }).then(|| close_frame(close))
    }

    fn breaks_off(_: Close) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::EndReason;

    #[test]
    fn the_end_of_a_run_is_the_only_close_frame_of_a_plain_connection() {
        let end = EndReason::new("done").ok();
        let end = Publication { end, ..Publication::bare(Bytes::new()) };
        assert_eq!(&Format::Plain.publication("a", &end)[..], b"\x88\x06\x03\xe8done");
        let close = Format::Plain.close_at_end().unwrap();
        assert_eq!(Format::Plain.close(close), None);
        assert!(Format::Plain.close(Close::Ended { is_told: false }).is_some());
    }
}
