//! The interface of a protocol.

use bytes::Bytes;

use super::{Command, Format, Message, Packets, Reply, ReplyError, SessionControl, Stamp};
use crate::close::Close;
use crate::publication::{Channel, Publication, ReplayStart, SessionId};

/// Everything in which protocols differ, as a session uses it.
///
/// No method has a default, so that a new protocol must define each.
pub trait Speak {
    /// Tells the protocol the id of its session, before any other call.
    fn begin(&mut self, session: SessionId);

    /// What divides the client's data into messages. None: each message of the transport is one.
    fn packets(&self) -> Option<Box<dyn Packets>>;

    /// Decodes one message. A message may hold several commands, each with its own result. `depth_max`: how
    /// deep a message may be nested, if the protocol has nesting.
    fn decode(&self, message: Message, depth_max: usize) -> Decoded;

    /// The bytes of a reply. None: the protocol has no message for it.
    fn reply(&self, reply: &Reply) -> Option<Bytes>;

    /// What a new subscriber gets that asked for the newest publications of a channel, and there are none. None: the
    /// protocol has no message for it.
    fn nothing_kept(&self, channel: &Channel) -> Option<Bytes>;

    /// What follows from a refused command: the error reply on an open connection, or the close of the
    /// connection if the protocol has no error message.
    fn refuse(&self, error: ReplyError, close: Close) -> Result<Reply, Close>;

    /// The format of this session's publications.
    fn format(&self) -> Format;

    /// The format of the publications of one channel, and what the session writes into each frame from now on. None: what
    /// it does already.
    fn subscription(&self, channel: &Channel) -> (Format, Option<Stamp>);

    /// The last bytes of the connection, which contain the close reason. None: closing the socket is enough.
    fn last_bytes(&self, close: Close) -> Option<Bytes>;

    /// The channels to which the session is bound. Empty: it subscribes with commands.
    fn channels(&self) -> &[Channel];

    /// Where the session begins in its only channel, if that carries runs and the client did not say. None: with what
    /// is published next.
    fn start_of_run(&mut self) -> Option<ReplayStart>;

    /// What the session writes into each frame. None: all sessions of the format get the same bytes.
    fn stamp(&self) -> Option<Stamp>;

    /// What a session that is a member of a channel writes into the frames that tell of members. None: all sessions of the
    /// format get the same bytes.
    fn member_stamp(&self) -> Option<Stamp>;

    /// What is to be published when the connection has ended for this reason.
    fn take_will(&self, close: Close) -> Option<Will>;

    /// Whether the client can publish on this connection.
    fn publishes(&self) -> bool;

    /// Whether clients identify themselves with tokens. If not, an anonymous session may stay.
    fn takes_tokens(&self) -> bool;

    /// Whether the session subscribes to the channels that its token lists.
    fn subscribes_listed(&self) -> bool;

    /// What it decides about heartbeats of its own and about the end of a session. None: a refused command leaves the
    /// session open, and the transport's heartbeats are enough.
    fn control(&self) -> Option<&dyn SessionControl>;
}

/// What a client wants to be published when it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    pub channel: Channel,
    pub publication: Publication,
}

/// The commands of one message, each decoded or with its error.
pub type Decoded = Result<Vec<Result<Command, ReplyError>>, DecodeError>;

/// Why a message holds no commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The client gets this error; the connection stays open.
    Answer(ReplyError),
    /// The same, because the message is nested too deeply.
    TooDeep(ReplyError),
    /// The connection ends, because the protocol cannot reply to the message.
    Close(Close),
}

/// Defines [`Protocol`](super::Protocol) from a list of names and types.
macro_rules! protocols {
    ($($(#[$doc:meta])* $name:ident($speak:ty),)+) => {
        /// The protocol of a session, with its parameters.
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
            fn begin(&mut self, session: SessionId) {
                match self { $(Self::$name(it) => it.begin(session),)+ }
            }

            fn packets(&self) -> Option<Box<dyn Packets>> {
                match self { $(Self::$name(it) => it.packets(),)+ }
            }

            fn decode(&self, message: Message, depth_max: usize) -> Decoded {
                match self { $(Self::$name(it) => it.decode(message, depth_max),)+ }
            }

            fn reply(&self, reply: &Reply) -> Option<Bytes> {
                match self { $(Self::$name(it) => it.reply(reply),)+ }
            }

            fn nothing_kept(&self, channel: &Channel) -> Option<Bytes> {
                match self { $(Self::$name(it) => it.nothing_kept(channel),)+ }
            }

            fn refuse(&self, error: ReplyError, close: Close) -> Result<Reply, Close> {
                match self { $(Self::$name(it) => it.refuse(error, close),)+ }
            }

            fn format(&self) -> Format {
                match self { $(Self::$name(it) => it.format(),)+ }
            }

            fn subscription(&self, channel: &Channel) -> (Format, Option<Stamp>) {
                match self { $(Self::$name(it) => it.subscription(channel),)+ }
            }

            fn last_bytes(&self, close: Close) -> Option<Bytes> {
                match self { $(Self::$name(it) => it.last_bytes(close),)+ }
            }

            fn channels(&self) -> &[Channel] {
                match self { $(Self::$name(it) => it.channels(),)+ }
            }

            fn start_of_run(&mut self) -> Option<ReplayStart> {
                match self { $(Self::$name(it) => it.start_of_run(),)+ }
            }

            fn stamp(&self) -> Option<Stamp> {
                match self { $(Self::$name(it) => it.stamp(),)+ }
            }

            fn member_stamp(&self) -> Option<Stamp> {
                match self { $(Self::$name(it) => it.member_stamp(),)+ }
            }

            fn take_will(&self, close: Close) -> Option<Will> {
                match self { $(Self::$name(it) => it.take_will(close),)+ }
            }

            fn takes_tokens(&self) -> bool {
                match self { $(Self::$name(it) => it.takes_tokens(),)+ }
            }

            fn publishes(&self) -> bool {
                match self { $(Self::$name(it) => it.publishes(),)+ }
            }

            fn subscribes_listed(&self) -> bool {
                match self { $(Self::$name(it) => it.subscribes_listed(),)+ }
            }

            fn control(&self) -> Option<&dyn SessionControl> {
                match self { $(Self::$name(it) => it.control(),)+ }
            }
        }
    };
}
pub(super) use protocols;
