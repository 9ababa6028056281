//! The replies to commands.

use std::sync::Arc;
use std::time::Duration;

use super::{Id, SharedMembers};
use crate::publication::{Channel, EndReason, Members, Position, Publication, User};
use crate::rules::SubscriptionPattern;

/// The reply to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Subscribed {
        id: Option<Id>,
        channel: Channel,
        /// The channel's last position. None: it keeps no history.
        position: Option<Position>,
        recovered: Option<bool>,
    },
    Unsubscribed {
        id: Option<Id>,
        channel: Channel,
    },
    /// The session gets what is published on the pattern's channels from now on.
    SubscribedPattern {
        id: Option<Id>,
        pattern: Arc<SubscriptionPattern>,
        /// Whether the session may subscribe to some of its channels only.
        partial: bool,
    },
    UnsubscribedPattern {
        id: Option<Id>,
        pattern: String,
    },
    /// The rules or the token no longer allow the pattern.
    PatternEnded {
        pattern: Arc<SubscriptionPattern>,
        code: Code,
        message: String,
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
    /// The session is a member of the channel to which it is subscribed.
    Joined {
        id: Option<Id>,
        channel: Channel,
        members: Arc<SharedMembers>,
    },
    /// The session is open, without a token of its command.
    Connected {
        id: Option<Id>,
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
    /// What the client has acknowledged makes room for more.
    Acknowledged,
    Error(ReplyError),
}

/// A part of a channel's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// Oldest first.
    pub publications: Vec<Publication>,
    /// The position up to which it extends.
    pub position: Option<Position>,
    /// Some if the client gave a position: whether nothing is missing between it and the first publication.
    pub recovered: Option<bool>,
    /// Whether more publications exist than the excerpt contains.
    pub more: bool,
    /// Some: the excerpt extends to the end of a run, which ended for this reason.
    pub ended: Option<EndReason>,
}

/// A command that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyError {
    pub id: Option<Id>,
    /// As the client sent it; not necessarily a valid name.
    pub channel: Option<String>,
    pub code: Code,
    pub message: String,
}

/// The error codes of the json protocol and of HTTP responses.
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
    /// The run on the channel has ended.
    Ended,
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
            Self::Ended => "ended",
        }
    }

    /// Whether the same command may succeed later.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Unavailable | Self::RateLimited)
    }
}
