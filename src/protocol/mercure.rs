//! Mercure's protocol: updates of topics as Server-Sent Events, and requests that publish them. Topics are channels.

mod cursor;
mod events;
mod form;
mod reader;

use bytes::Bytes;

pub use self::cursor::{EARLIEST, FollowedTopics, LastId, ResumeReport};
pub use self::events::MercureEvents;
pub use self::form::{FormRefused, UPDATE_BYTES_MAX, Update, form_bytes_max, pairs};
pub use self::reader::PrivateReader;
use super::{
    DecodeError, Decoded, Format, Message, Packets, Reply, ReplyError, SessionControl, Speak,
    Stamp, Will,
};
use crate::close::Close;
use crate::publication::{Channel, ReplayStart, SessionId};

/// The most topics of a subscription.
pub const TOPICS_MAX: usize = super::sse::CHANNELS_MAX;

/// A session that publishes updates, or one that follows topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mercure {
    Publish,
    Follow(Box<FollowedTopics>),
}

impl Speak for Mercure {
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
        match self {
            Self::Publish => None,
            Self::Follow(followed) => followed.reply(reply),
        }
    }

    fn nothing_kept(&self, _: &Channel) -> Option<Bytes> {
        None
    }

    fn refuse(&self, error: ReplyError, close: Close) -> Result<Reply, Close> {
        match self {
            Self::Publish => Ok(Reply::Error(error)),
            Self::Follow(_) => Err(close),
        }
    }

    fn subscription(&self, _: &Channel) -> (Format, Option<Stamp>) {
        (self.format(), None)
    }

    fn last_bytes(&self, close: Close) -> Option<Bytes> {
        self.format().close(close)
    }

    fn format(&self) -> Format {
        Format::Mercure
    }

    fn channels(&self) -> &[Channel] {
        match self {
            Self::Publish => &[],
            Self::Follow(followed) => followed.channels(),
        }
    }

    fn start_of_run(&mut self) -> Option<ReplayStart> {
        None
    }

    fn stamp(&self) -> Option<Stamp> {
        match self {
            Self::Publish => None,
            Self::Follow(followed) => Some(followed.stamp()),
        }
    }

    fn member_stamp(&self) -> Option<Stamp> {
        None
    }

    fn takes_tokens(&self) -> bool {
        true
    }

    fn control(&self) -> Option<&dyn SessionControl> {
        None
    }

    fn take_will(&self, _: Close) -> Option<Will> {
        None
    }

    fn publishes(&self) -> bool {
        matches!(self, Self::Publish)
    }

    fn subscribes_listed(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
