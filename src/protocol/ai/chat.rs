//! The frames of the AI SDK's `WebSocketChatTransport`: requests of a chat, each answered by the chunks of one run.

use bytes::Bytes;

use super::chunk::Chunk;
use super::mark::FrameMark;
use super::request;
use super::requests::{ChatRequestKind, ChatRequests, error};
use crate::close::Close;
use crate::protocol::close_code::close_frame;
use crate::protocol::json::{depth, fault};
use crate::protocol::{
    Code, DecodeError, Decoded, Encode, Format, Id, Message, Packets, Push, Reply, ReplyError,
    SessionControl, Speak, Stamp, Will,
};
use crate::publication::{Channel, PayloadKind, Publication, ReplayStart, SessionId};

/// The protocol's name in `Sec-WebSocket-Protocol`. The client library closes a connection on which it gets a message
/// of the json protocol, such as `welcome`, so it must ask for its own.
pub const SUBPROTOCOL: &str = "tidegate.v1.ai";

/// A session of a chat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AiChat(ChatRequests);

impl Speak for AiChat {
    fn begin(&mut self, _: SessionId) {}

    fn packets(&self) -> Option<Box<dyn Packets>> {
        None
    }

    fn decode(&self, message: Message, depth_max: usize) -> Decoded {
        if message.kind == PayloadKind::Binary {
            return Err(DecodeError::Close(Close::Unsupported("a chat has text frames only")));
        }
        if !message.payload.trim_ascii_start().starts_with(b"{") {
            return Err(fault::NOT_AN_OBJECT);
        }
        if depth::exceeds(&message.payload, depth_max) {
            return Err(DecodeError::TooDeep(ReplyError {
                id: None,
                channel: None,
                code: Code::BadRequest,
                message: format!("nested deeper than session.json_depth_max = {depth_max}"),
            }));
        }
        request::decode(&message, &self.0)
    }

    fn reply(&self, reply: &Reply) -> Option<Bytes> {
        match reply {
            Reply::Subscribed { id: Some(Id::Text(request)), channel, recovered, .. } => {
                let is_whole = u8::from(*recovered != Some(false));
                let rest = [&[is_whole], request.as_bytes()].concat();
                Some(FrameMark::Started.frame(channel.as_str(), &rest))
            }
            Reply::Unsubscribed { id: Some(Id::Text(request)), .. } => {
                Some(FrameMark::Left.frame(request, b""))
            }
            Reply::Error(error) => Some(self.refusal(error)),
            _ => None,
        }
    }

    fn nothing_kept(&self, _: &Channel) -> Option<Bytes> {
        None
    }

    fn refuse(&self, error: ReplyError, _: Close) -> Result<Reply, Close> {
        Ok(Reply::Error(error))
    }

    fn format(&self) -> Format {
        Format::AiChat
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

    /// The command says it.
    fn start_of_run(&mut self) -> Option<ReplayStart> {
        None
    }

    fn stamp(&self) -> Option<Stamp> {
        let requests = self.0.clone();
        Some(Box::new(move |frame| requests.stamped(frame)))
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

impl AiChat {
    /// What the client gets for an error: of a request, or of a channel to which the session is not subscribed any more.
    fn refusal(&self, refused: &ReplyError) -> Bytes {
        let ReplyError { id, channel, code, message } = refused;
        match (id, channel) {
            (Some(Id::Text(request)), _) => {
                let resumes = self.0.kind_of(request) == Some(ChatRequestKind::Resume);
                let frame = match resumes && *code == Code::NotFound {
                    true => serde_json::json!({ "type": "no-active", "requestId": request }),
                    false => error(request, message),
                };
                FrameMark::Refused.frame(request, frame.to_string().as_bytes())
            }
            (_, Some(channel)) if Channel::new(channel).is_ok() => {
                FrameMark::Unsubscribed.frame(channel, message.as_bytes())
            }
            _ => FrameMark::Refused.frame("", error("", message).to_string().as_bytes()),
        }
    }
}

/// What the requests of chats get.
pub struct AiChatFrames;

impl Encode for AiChatFrames {
    fn publication(channel: &str, publication: &Publication) -> Bytes {
        let Chunk { mark, json } = Chunk::of(publication);
        mark.frame(channel, &json)
    }

    fn push(push: &Push<'_>) -> Option<Bytes> {
        match push {
            Push::Ended { channel, reason, .. } => {
                Some(FrameMark::Ended.frame(channel, reason.as_str().as_bytes()))
            }
            Push::Gap { channel, .. } => {
                Some(FrameMark::Gap.frame(channel, Close::Gap.text().as_bytes()))
            }
            // The client closes a connection on which it gets a frame that it does not know.
            Push::Welcome { .. }
            | Push::PatternGap { .. }
            | Push::Presence { .. }
            | Push::Reconnect { .. } => None,
        }
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
