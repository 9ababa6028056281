//! The json protocol: one JSON object per text frame.

mod command;
pub(super) mod depth;
pub(super) mod fault;
mod pattern;
pub(super) mod publication;
mod raw_command;
pub(super) mod readable;
mod start;
#[cfg(test)]
mod tests;
pub(super) mod written;

use bytes::Bytes;

use super::close_code::close_frame;
use super::{
    Code, DecodeError, Decoded, Encode, Format, Message, Packets, Push, Reply, ReplyError,
    SessionControl, Speak, Stamp, Will,
};
use crate::close::Close;
use crate::framing::websocket;
use crate::publication::{Channel, PayloadKind, Publication, ReplayStart, SessionId};

/// The json protocol's name in `Sec-WebSocket-Protocol`.
pub const SUBPROTOCOL: &str = "tidegate.v1.json";

/// A session of the json protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json;

impl Speak for Json {
    fn begin(&mut self, _: SessionId) {}

    fn packets(&self) -> Option<Box<dyn Packets>> {
        None
    }

    fn decode(&self, message: Message, depth_max: usize) -> Decoded {
        match command::decode(&message) {
            Err(DecodeError::Close(close)) => Err(DecodeError::Close(close)),
            _ if depth::exceeds(&message.payload, depth_max) => {
                Err(DecodeError::TooDeep(ReplyError {
                    id: fault::id_of(&message.payload),
                    channel: None,
                    code: Code::BadRequest,
                    message: format!("nested deeper than session.json_depth_max = {depth_max}"),
                }))
            }
            decoded => decoded,
        }
    }

    fn reply(&self, reply: &Reply) -> Option<Bytes> {
        Some(websocket::message(PayloadKind::Text, &written::reply(reply)))
    }

    fn nothing_kept(&self, _: &Channel) -> Option<Bytes> {
        None
    }

    fn refuse(&self, error: ReplyError, _: Close) -> Result<Reply, Close> {
        Ok(Reply::Error(error))
    }

    fn format(&self) -> Format {
        Format::Json
    }

    fn subscription(&self, _: &Channel) -> (Format, Option<Stamp>) {
        (self.format(), None)
    }

    fn last_bytes(&self, close: Close) -> Option<Bytes> {
        self.format().close(close)
    }

    fn channels(&self) -> &[Channel] {
        &[]
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
        true
    }

    fn control(&self) -> Option<&dyn SessionControl> {
        None
    }
}

/// JSON objects in text frames of a WebSocket.
pub struct JsonFrames;

impl Encode for JsonFrames {
    fn publication(channel: &str, publication: &Publication) -> Bytes {
        websocket::message(PayloadKind::Text, &publication::publication(channel, publication))
    }

    fn push(push: &Push<'_>) -> Option<Bytes> {
        Some(websocket::message(PayloadKind::Text, &written::push(push)))
    }

    fn close_at_end() -> Option<Close> {
        None
    }

    fn heartbeat() -> Option<Bytes> {
        None
    }

    fn close(close: Close) -> Option<Bytes> {
        Some(close_frame(close))
    }

    fn breaks_off(_: Close) -> bool {
        false
    }
}
