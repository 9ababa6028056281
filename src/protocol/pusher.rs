//! Pusher's protocol, version 7: events as JSON objects in text frames, channels whose kind is in their names, and
//! signatures of an application for private channels, presence and users.
//!
//! All subscribers of a channel share the bytes of an event. Only what tells of a channel's members differs between
//! sessions: those frames begin with a `MemberMark`, and a session that is a member of a channel has
//! a stamp that completes or drops them.

pub mod api;
mod close_code;
mod command;
mod event;
mod members;
mod name;
mod session;
mod signed;
#[cfg(test)]
mod tests;
mod written;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use self::command::{SIGN_IN, SUBSCRIBE};
use self::members::MemberMark;
use self::name::{is_cache, is_presence, name_of};
use self::session::PusherSession;
use super::json::depth;
use super::{
    Code, DecodeError, Decoded, Encode, Format, Message, Packets, Push, Reply, ReplyError,
    SessionControl, Speak, Stamp, Will,
};
use crate::apps::App;
use crate::close::Close;
use crate::publication::{Channel, PayloadKind, Publication, ReplayStart, SessionId};

/// The versions of the protocol that the node speaks. They differ in nothing that it sends.
pub const VERSIONS: std::ops::RangeInclusive<u32> = 5..=7;

/// Seconds after which a client that has got nothing sends a ping of the protocol, because a page does not see the
/// WebSocket's own pings.
const ACTIVITY_TIMEOUT_SECONDS: u32 = 120;

/// A session of an application's client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pusher(Arc<PusherSession>);

impl Pusher {
    /// None: the client names no application that the node has. Such a session is closed at its start.
    pub fn new(app: Option<Arc<App>>) -> Self {
        Self(Arc::new(PusherSession::new(app)))
    }
}

impl Speak for Pusher {
    fn begin(&mut self, session: SessionId) {
        self.0.begin(session);
    }

    fn packets(&self) -> Option<Box<dyn Packets>> {
        None
    }

    fn decode(&self, message: Message, depth_max: usize) -> Decoded {
        if message.kind == PayloadKind::Binary {
            return Err(DecodeError::Close(Close::Unsupported("an event is a text frame")));
        }
        if depth::exceeds(&message.payload, depth_max) {
            return Err(DecodeError::TooDeep(ReplyError {
                id: None,
                channel: None,
                code: Code::BadRequest,
                message: format!("nested deeper than session.json_depth_max = {depth_max}"),
            }));
        }
        command::decode(&self.0, &message.payload)
    }

    fn reply(&self, reply: &Reply) -> Option<Bytes> {
        match reply {
            // A member gets the list of members with it.
            Reply::Subscribed { channel, .. } if is_presence(&name_of(channel.as_str())) => None,
            Reply::Subscribed { channel, .. } => {
                self.0.subscribed(channel);
                Some(written::subscribed(&name_of(channel.as_str()), "{}"))
            }
            Reply::Joined { channel, members, .. } => {
                self.0.listed(channel, members.clone());
                Some(members.bytes(Format::Pusher, |members| {
                    let list = written::member_list(members);
                    let frame = written::subscribed(&name_of(channel.as_str()), &list);
                    MemberMark::Listed.frame(channel.as_str(), "", &frame)
                }))
            }
            Reply::Authenticated { .. } => self
                .0
                .signed_in()
                .map(|(user, has_watchlist)| written::signed_in(&user, has_watchlist)),
            Reply::Pong { .. } => Some(written::pong()),
            Reply::Error(error) => Some(self.refusal(error)),
            Reply::Unsubscribed { .. }
            | Reply::SubscribedPattern { .. }
            | Reply::UnsubscribedPattern { .. }
            | Reply::PatternEnded { .. }
            | Reply::Published { .. }
            | Reply::History { .. }
            | Reply::Acknowledged
            | Reply::Connected { .. }
            | Reply::Presence { .. } => None,
        }
    }

    fn nothing_kept(&self, channel: &Channel) -> Option<Bytes> {
        let name = name_of(channel.as_str());
        is_cache(&name).then(|| written::event("pusher:cache_miss", Some(&name), "{}"))
    }

    fn refuse(&self, error: ReplyError, _: Close) -> Result<Reply, Close> {
        Ok(Reply::Error(error))
    }

    fn format(&self) -> Format {
        Format::Pusher
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
        let session = self.0.clone();
        Some(Box::new(move |frame| session.stamped(frame)))
    }

    fn take_will(&self, _: Close) -> Option<Will> {
        None
    }

    fn publishes(&self) -> bool {
        true
    }

    fn takes_tokens(&self) -> bool {
        false
    }

    fn subscribes_listed(&self) -> bool {
        false
    }

    fn control(&self) -> Option<&dyn SessionControl> {
        None
    }
}

impl Pusher {
    /// What the client gets for an error: about one channel if it is not, or not any more, subscribed to it.
    fn refusal(&self, refused: &ReplyError) -> Bytes {
        let ReplyError { id, channel, code, message } = refused;
        match channel.as_deref().map(name_of) {
            Some(name) if id.is_none() || *id == Some(SUBSCRIBE) => {
                self.0.not_subscribed(channel.as_deref().unwrap_or_default());
                let (kind, status) = match code {
                    Code::Unauthorized => ("AuthError", 401),
                    Code::Forbidden => ("AuthError", 403),
                    Code::NotFound => ("NotFound", 404),
                    Code::LimitReached | Code::RateLimited => ("LimitReached", 429),
                    Code::Unavailable => ("Unavailable", 503),
                    Code::BadRequest | Code::TooLarge | Code::Ended => ("BadRequest", 400),
                };
                let data = json!({ "type": kind, "error": message, "status": status });
                written::object("pusher:subscription_error", Some(&name), &data)
            }
            _ => {
                let of_user = *id == Some(SIGN_IN);
                if of_user && *code != Code::BadRequest {
                    self.0.not_signed_in();
                }
                written::error(close_code::of_error(*code, of_user), message)
            }
        }
    }
}

/// Events in text frames of a WebSocket.
pub struct PusherFrames;

impl Encode for PusherFrames {
    fn publication(channel: &str, publication: &Publication) -> Bytes {
        event::publication(channel, publication)
    }

    fn push(push: &Push<'_>) -> Option<Bytes> {
        match push {
            Push::Welcome { session, .. } => {
                let data = json!({
                    "socket_id": session::socket_id(session.parse().ok()?),
                    "activity_timeout": ACTIVITY_TIMEOUT_SECONDS,
                });
                Some(written::event("pusher:connection_established", None, &data.to_string()))
            }
            Push::Gap { channel, reason } => {
                let data = json!({ "reason": reason }).to_string();
                Some(written::event("tidegate:gap", Some(&name_of(channel)), &data))
            }
            Push::Ended { channel, reason, .. } => {
                let data = json!({ "reason": reason.as_str() }).to_string();
                Some(written::event("tidegate:ended", Some(&name_of(channel)), &data))
            }
            Push::Presence { channel, user, change, info } => {
                members::changed(channel, user.as_deref()?, *change, info.as_ref())
            }
            // The close code tells the client to reconnect.
            Push::PatternGap { .. } | Push::Reconnect { .. } => None,
        }
    }

    fn close_at_end() -> Option<Close> {
        None
    }

    fn heartbeat() -> Option<Bytes> {
        None
    }

    fn close(close: Close) -> Option<Bytes> {
        Some(close_code::last_frames(close))
    }

    fn breaks_off(_: Close) -> bool {
        false
    }
}
