//! The interface of a format.

use bytes::Bytes;

use super::Push;
use crate::close::Close;
use crate::publication::Publication;

/// Encodes messages to the bytes for the socket.
///
/// No method has a default, so that a new format must define each.
pub trait Encode {
    /// Encodes a publication of the channel, which is not the end of a run: that is a push.
    fn publication(channel: &str, publication: &Publication) -> Bytes;

    /// Encodes a push. None: the format has no message for it.
    fn push(push: &Push<'_>) -> Option<Bytes>;

    /// Why the connection ends right after the push of a run's end. None: it stays open.
    fn close_at_end() -> Option<Close>;

    /// The heartbeat of a connection whose transport has none, so that proxies do not close it. None: the
    /// transport has heartbeats.
    fn heartbeat() -> Option<Bytes>;

    /// The last bytes of a connection, which contain the close reason. None: closing the socket is enough.
    fn close(close: Close) -> Option<Bytes>;

    /// Whether a response breaks off for this reason, so that its client sees the network fail, where the transport can
    /// break it off. If not, it ends with the last bytes.
    fn breaks_off(close: Close) -> bool;
}

/// Dispatches each [`Format`](super::Format) to the listed encoder.
macro_rules! formats {
    ($($name:ident => $encode:ty,)+) => {
        impl Format {
            /// The bytes of a publication, or of the end of a run.
            pub fn publication(self, channel: &str, publication: &Publication) -> Bytes {
                if let Some(reason) = &publication.end {
                    let ended = Push::Ended { channel, reason, position: publication.position };
                    return self.push(&ended).unwrap_or_default();
                }
                match self { $(Self::$name => <$encode>::publication(channel, publication),)+ }
            }

            /// The bytes of a push. None: the format has no message for it.
            pub fn push(self, push: &Push<'_>) -> Option<Bytes> {
                match self { $(Self::$name => <$encode>::push(push),)+ }
            }

            /// Why the connection ends right after the push of a run's end. None: it stays open.
            pub fn close_at_end(self) -> Option<Close> {
                match self { $(Self::$name => <$encode>::close_at_end(),)+ }
            }

            /// The heartbeat of a connection whose transport has none. None: the transport has heartbeats.
            pub fn heartbeat(self) -> Option<Bytes> {
                match self { $(Self::$name => <$encode>::heartbeat(),)+ }
            }

            /// The last bytes of a connection. None: closing the socket is enough.
            pub fn close(self, close: Close) -> Option<Bytes> {
                match self { $(Self::$name => <$encode>::close(close),)+ }
            }

            /// Whether a response breaks off for this reason instead of ending with its last bytes.
            pub fn breaks_off(self, close: Close) -> bool {
                match self { $(Self::$name => <$encode>::breaks_off(close),)+ }
            }
        }
    };
}
pub(super) use formats;
