//! What a protocol decides for the sessions that speak it.

use bytes::Bytes;

use super::{Command, Format, Message, Reply, ReplyError};
use crate::close::Close;
use crate::publication::Channel;

/// Everything in which one protocol differs from another, as a session sees it.
///
/// Nothing has a default: a new protocol must answer each question.
pub trait Speak {
    /// Reads one message. A message may hold several commands, each with an outcome of its own.
    /// `depth_max`: how deep a message may be nested, where the protocol nests.
    fn decode(&self, message: Message, depth_max: usize) -> Decoded;

    /// The bytes of a reply. None: the protocol has no words for it.
    fn reply(&self, reply: &Reply) -> Option<Bytes>;

    /// What becomes of a command that cannot be done: the client is told the error and the connection stays open,
    /// or, where the protocol has no words for the error, the connection ends for this reason.
    fn refuse(&self, error: ReplyError, close: Close) -> Result<Reply, Close>;

    /// How this session's publications are written.
    fn format(&self) -> Format;

    /// The one channel that the session is about, from its beginning to its end. None: it subscribes by commands.
    fn channel(&self) -> Option<&Channel>;

    /// Can the client publish on this connection?
    fn publishes(&self) -> bool;

    /// Is a session subscribed to the channels that its token lists?
    fn subscribes_listed(&self) -> bool;
}

/// The commands of one message, each readable or not.
pub type Decoded = Result<Vec<Result<Command, ReplyError>>, DecodeError>;

/// Why a message holds no commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Answered; the connection stays open.
    Answer(ReplyError),
    /// Answered too: it is nested deeper than may be.
    TooDeep(ReplyError),
    /// Beyond what the protocol can answer.
    Close(Close),
}

/// Makes [`Protocol`](super::Protocol) of a list of names and of what speaks them.
macro_rules! protocols {
    ($($(#[$doc:meta])* $name:ident($speak:ty),)+) => {
        /// What a session speaks, with what it needs to know for that.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Protocol {
            $($(#[$doc])* $name($speak),)+
        }

        $(impl From<$speak> for Protocol {
            fn from(protocol: $speak) -> Self {
                Self::$name(protocol)
            }
        })+

        impl Speak for Protocol {
            fn decode(&self, message: Message, depth_max: usize) -> Decoded {
                match self { $(Self::$name(it) => it.decode(message, depth_max),)+ }
            }

            fn reply(&self, reply: &Reply) -> Option<Bytes> {
                match self { $(Self::$name(it) => it.reply(reply),)+ }
            }

            fn refuse(&self, error: ReplyError, close: Close) -> Result<Reply, Close> {
                match self { $(Self::$name(it) => it.refuse(error, close),)+ }
            }

            fn format(&self) -> Format {
                match self { $(Self::$name(it) => it.format(),)+ }
            }

            fn channel(&self) -> Option<&Channel> {
                match self { $(Self::$name(it) => it.channel(),)+ }
            }

            fn publishes(&self) -> bool {
                match self { $(Self::$name(it) => it.publishes(),)+ }
            }

            fn subscribes_listed(&self) -> bool {
                match self { $(Self::$name(it) => it.subscribes_listed(),)+ }
            }
        }
    };
}
pub(super) use protocols;
