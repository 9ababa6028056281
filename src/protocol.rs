//! What a session speaks: messages become commands, replies and pushes become frames.
//!
//! One file a protocol. Another one is a variant of [`Protocol`] and of [`Encoding`], and a file.

mod json;
mod plain;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::close::Close;
use crate::publication::{
    Change, Channel, Kind, Members, Position, Publication, Traceparent, User,
};
use crate::telemetry;

/// One message of the client, its fragments joined. Text is UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: Kind,
    pub payload: Bytes,
}

/// What a session speaks, with what it needs to know for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// One channel; frames are publications as they are.
    ///
    /// They follow the `traceparent` that the session's upgrade came with. In a box, as few have one.
    Plain { channel: Channel, traceparent: Option<Box<Traceparent>> },
    /// JSON objects in text frames.
    Json,
}

/// The subprotocol that names the json protocol in `Sec-WebSocket-Protocol`.
pub const JSON_SUBPROTOCOL: &str = "tidegate.v1.json";

/// The number a client gave its command; the answer carries it.
pub type Id = i64;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Subscribe {
        id: Option<Id>,
        channel: Channel,
        since: Option<Position>,
        echo: bool,
    },
    Unsubscribe {
        id: Option<Id>,
        channel: Channel,
    },
    Publish {
        id: Option<Id>,
        channel: Channel,
        publication: Publication,
    },
    /// `limit`: most publications of the answer; the newest, or with `since` those right after it.
    History {
        id: Option<Id>,
        channel: Channel,
        since: Option<Position>,
        limit: usize,
    },
    Presence {
        id: Option<Id>,
        channel: Channel,
    },
    Auth {
        id: Option<Id>,
        token: Token,
    },
    Ping {
        id: Option<Id>,
    },
}

/// A token as the client sent it. Whoever prints it sees nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

impl Command {
    /// The number the client gave it.
    pub fn id(&self) -> Option<Id> {
        match self {
            Self::Subscribe { id, .. }
            | Self::Unsubscribe { id, .. }
            | Self::Publish { id, .. }
            | Self::History { id, .. }
            | Self::Presence { id, .. }
            | Self::Auth { id, .. }
            | Self::Ping { id } => *id,
        }
    }

    /// The channel it is about.
    pub fn channel(&self) -> Option<&Channel> {
        match self {
            Self::Subscribe { channel, .. }
            | Self::Unsubscribe { channel, .. }
            | Self::Publish { channel, .. }
            | Self::History { channel, .. }
            | Self::Presence { channel, .. } => Some(channel),
            Self::Auth { .. } | Self::Ping { .. } => None,
        }
    }

    /// The answer that refuses it.
    pub fn refuse(&self, code: Code, message: String) -> Reply {
        let channel = self.channel().map(Channel::to_string);
        Reply::Error(ReplyError { id: self.id(), channel, code, message })
    }
}

/// What a command is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Subscribed {
        id: Option<Id>,
        channel: Channel,
        /// Where the channel stands. None: it keeps no history.
        position: Option<Position>,
        recovered: Option<bool>,
    },
    Unsubscribed {
        id: Option<Id>,
        channel: Channel,
    },
    Published {
        id: Option<Id>,
        position: Option<Position>,
    },
    History {
        id: Option<Id>,
        channel: Channel,
        excerpt: Excerpt,
    },
    Presence {
        id: Option<Id>,
        channel: Channel,
        members: Members,
    },
    Authenticated {
        id: Option<Id>,
        user: User,
        /// None: the token never expires.
        expires_in: Option<Duration>,
    },
    Pong {
        id: Option<Id>,
    },
    Error(ReplyError),
}

/// A part of a channel's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// Oldest first.
    pub publications: Vec<Publication>,
    /// How far it reaches.
    pub position: Option<Position>,
    /// Some where it was to follow a position: does nothing stand between?
    pub recovered: Option<bool>,
    /// Was more left out than was asked for?
    pub more: bool,
}

/// What the node says unasked, beside publications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push<'a> {
    Welcome {
        session: String,
        node: String,
        ping_interval_ms: u64,
    },
    /// Publications of the channel may be missing from here on back.
    Gap {
        channel: &'a str,
        reason: &'static str,
    },
    /// A user came to the channel, or left it.
    Presence {
        channel: &'a str,
        user: User,
        change: Change,
    },
    /// The connection ends in a moment; the client should be back after so long.
    Reconnect {
        after: Duration,
        reason: &'static str,
    },
}

/// A command that failed. The connection stays open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyError {
    pub id: Option<Id>,
    /// The name as it was given: it may be none.
    pub channel: Option<String>,
    pub code: Code,
    pub message: String,
}

/// The error codes of the json protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    TooLarge,
    RateLimited,
    LimitReached,
    Unavailable,
}

impl Code {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::LimitReached => "limit_reached",
            Self::Unavailable => "unavailable",
        }
    }

    /// Would the same command do better later?
    fn is_temporary(self) -> bool {
        matches!(self, Self::Unavailable | Self::RateLimited)
    }
}

/// Why a message is no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Answered; the connection stays open.
    Answer(ReplyError),
    /// Beyond what the protocol can answer.
    Close(Close),
}

impl Protocol {
    /// Reads one message. A message may hold several commands, each with an outcome of its own.
    pub fn decode(&self, message: Message) -> Result<Vec<Result<Command, ReplyError>>, Refusal> {
        match self {
            Self::Plain { channel, traceparent } => {
                Ok(vec![Ok(plain::decode(channel, traceparent.as_deref(), message))])
            }
            Self::Json => json::decode(&message),
        }
    }

    /// The answer to a message that is nested deeper than `max`. None: it is not.
    pub fn too_deep(&self, message: &Message, max: usize) -> Option<ReplyError> {
        let is_json = matches!(self, Self::Json);
        (is_json && json::exceeds(&message.payload, max)).then(|| ReplyError {
            id: json::id_of(&message.payload),
            channel: None,
            code: Code::BadRequest,
            message: format!("nested deeper than session.json_depth_max = {max}"),
        })
    }

    /// The frame of a reply. None: the protocol has no words for it.
    pub fn reply(&self, reply: &Reply) -> Option<Bytes> {
        match self {
            Self::Plain { .. } => None,
            Self::Json => Some(json::reply(reply)),
        }
    }

    /// How this session's publications are written.
    pub fn encoding(&self) -> Encoding {
        match self {
            Self::Plain { .. } => Encoding::Plain,
            Self::Json => Encoding::Json,
        }
    }
}

/// How publications and pushes are written for a subscriber: the same bytes for all who share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    Json,
}

impl Encoding {
    pub const COUNT: usize = 2;

    /// The frame of a publication.
    pub fn publication(self, channel: &str, publication: &Publication) -> Bytes {
        match self {
            Self::Plain => plain::publication(publication),
            Self::Json => json::publication(channel, publication),
        }
    }

    /// The frame of a push. None: the protocol has no words for it.
    pub fn push(self, push: &Push<'_>) -> Option<Bytes> {
        match self {
            Self::Plain => None,
            Self::Json => Some(json::push(push)),
        }
    }

    /// The label under which it is counted.
    pub fn label(self) -> telemetry::Protocol {
        match self {
            Self::Plain => telemetry::Protocol::Plain,
            Self::Json => telemetry::Protocol::Json,
        }
    }
}

/// A publication's frames, each encoding made once, when the first subscriber needs it.
pub struct Encoded<'a> {
    channel: &'a str,
    publication: &'a Publication,
    frames: [Option<Bytes>; Encoding::COUNT],
}

impl<'a> Encoded<'a> {
    pub fn new(channel: &'a str, publication: &'a Publication) -> Self {
        Self { channel, publication, frames: Default::default() }
    }

    pub fn frame(&mut self, encoding: Encoding) -> Bytes {
        self.frames[encoding as usize]
            .get_or_insert_with(|| encoding.publication(self.channel, self.publication))
            .clone()
    }
}
