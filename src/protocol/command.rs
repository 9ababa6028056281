//! The commands of clients.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{Code, Id, ReplyError};
use crate::publication::{
    Channel, PayloadKind, Position, Publication, ReplayStart, User, UserInfo,
};
use crate::rules::SubscriptionPattern;

/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Publications of a reply to [`Command::History`]: by default, and at most.
pub const HISTORY_LIMIT: usize = 100;
pub const HISTORY_LIMIT_MAX: usize = 1000;

/// A client's message, its fragments joined. Text is UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: PayloadKind,
    pub payload: Bytes,
}

/// A command of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Subscribe {
        id: Option<Id>,
        channel: Channel,
        /// From where the client wants the channel's past.
        start: Option<ReplayStart>,
        echo: bool,
        /// Some: an application has signed that the session may use the channel.
        grant: Option<Box<Grant>>,
    },
    Unsubscribe {
        id: Option<Id>,
        channel: Channel,
    },
    /// Subscribes to all channels that match.
    SubscribePattern {
        id: Option<Id>,
        pattern: Arc<SubscriptionPattern>,
        echo: bool,
    },
    /// Ends the subscription to the pattern with this text.
    UnsubscribePattern {
        id: Option<Id>,
        pattern: String,
    },
    Publish {
        id: Option<Id>,
        channel: Channel,
        publication: Publication,
    },
    /// `limit`: most publications of the reply; the newest, or with `since` those right after it.
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
    /// Subscribes to the run on a channel from its beginning, in place of a subscription that the session has.
    FollowRun {
        id: Option<Id>,
        channel: Channel,
        /// Also if it has ended.
        with_ended: bool,
        /// What the run's worker is to answer; the run may begin after it.
        request: Option<Publication>,
    },
    /// Tells the run's worker, and unsubscribes.
    LeaveRun {
        id: Option<Id>,
        channel: Channel,
        request: Publication,
    },
    /// The client opens its session, in a protocol with a message for it.
    Connect {
        id: Option<Id>,
        token: Option<Token>,
    },
    Auth {
        id: Option<Id>,
        token: Token,
    },
    /// An application has signed that the session is this user's.
    SignIn {
        id: Option<Id>,
        user: Arc<str>,
        info: Option<UserInfo>,
    },
    Ping {
        id: Option<Id>,
    },
    /// The client has acknowledged publications, so it can get more. Counts against no rate, because the node has sent as
    /// many.
    Acknowledge,
}

/// What an application has signed about a session and a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who the session is on the channel.
    pub user: User,
    pub info: Option<UserInfo>,
    /// Whether the session gets the list of the channel's members before it is subscribed.
    pub is_member: bool,
}

/// A token as the client sent it. Its `Debug` output is masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

impl Command {
    /// The client's id of the command.
    pub fn id(&self) -> Option<&Id> {
        match self {
            Self::Subscribe { id, .. }
            | Self::Unsubscribe { id, .. }
            | Self::SubscribePattern { id, .. }
            | Self::UnsubscribePattern { id, .. }
            | Self::Publish { id, .. }
            | Self::History { id, .. }
            | Self::Presence { id, .. }
            | Self::FollowRun { id, .. }
            | Self::LeaveRun { id, .. }
            | Self::Connect { id, .. }
            | Self::Auth { id, .. }
            | Self::SignIn { id, .. }
            | Self::Ping { id } => id.as_ref(),
            Self::Acknowledge => None,
        }
    }

    /// The channel of the command.
    pub fn channel(&self) -> Option<&Channel> {
        match self {
            Self::Subscribe { channel, .. }
            | Self::Unsubscribe { channel, .. }
            | Self::Publish { channel, .. }
            | Self::History { channel, .. }
            | Self::Presence { channel, .. }
            | Self::FollowRun { channel, .. }
            | Self::LeaveRun { channel, .. } => Some(channel),
            Self::SubscribePattern { .. }
            | Self::UnsubscribePattern { .. }
            | Self::Connect { .. }
            | Self::Auth { .. }
            | Self::SignIn { .. }
            | Self::Ping { .. }
            | Self::Acknowledge => None,
        }
    }

    /// The error reply to the command.
    pub fn error(&self, code: Code, message: String) -> ReplyError {
        let channel = self.channel().map(Channel::to_string);
        ReplyError { id: self.id().cloned(), channel, code, message }
    }
}
