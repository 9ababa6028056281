//! What a format writes.

use bytes::Bytes;

use super::Push;
use crate::close::Close;
use crate::publication::Publication;

/// Writes bytes as they go to a socket.
///
/// Nothing has a default: a new format must answer each question.
pub trait Encode {
    /// A publication of the channel.
    fn publication(channel: &str, publication: &Publication) -> Bytes;

    /// None: the format has no words for it.
    fn push(push: &Push<'_>) -> Option<Bytes>;

    /// What a connection without heartbeats of its own sends so that it is not taken for dead. None: its
    /// transport has some.
    fn heartbeat() -> Option<Bytes>;

    /// The last bytes of a connection, which say why it ends. None: its end says enough.
    fn close(close: Close) -> Option<Bytes>;
}

/// Has each [`Format`](super::Format) written by what is listed beside it.
macro_rules! formats {
    ($($name:ident => $encode:ty,)+) => {
        impl Format {
            /// The bytes of a publication.
            pub fn publication(self, channel: &str, publication: &Publication) -> Bytes {
                match self { $(Self::$name => <$encode>::publication(channel, publication),)+ }
            }

            /// The bytes of a push. None: the format has no words for it.
            pub fn push(self, push: &Push<'_>) -> Option<Bytes> {
                match self { $(Self::$name => <$encode>::push(push),)+ }
            }

            /// What a connection without heartbeats of its own sends. None: its transport has some.
            pub fn heartbeat(self) -> Option<Bytes> {
                match self { $(Self::$name => <$encode>::heartbeat(),)+ }
            }

            /// The last bytes of a connection. None: its end says enough.
            pub fn close(self, close: Close) -> Option<Bytes> {
                match self { $(Self::$name => <$encode>::close(close),)+ }
            }
        }
    };
}
pub(super) use formats;
