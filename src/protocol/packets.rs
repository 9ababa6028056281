//! Protocols whose messages are not those of their transport.

use std::time::Duration;

use super::Message;
use crate::close::Close;

/// Divides what a client sends into a protocol's messages.
pub trait Packets: Send {
    /// Adds a message of the transport, which may hold a part of a packet, or several. Fails if packets do not arrive in
    /// such messages.
    fn add(&mut self, data: Message) -> Result<(), Close>;

    /// The next whole packet. None: its rest has not arrived. Fails if no packet begins so.
    fn next(&mut self) -> Result<Option<Message>, Close>;

    /// How long the client may send no packet. None: as long as it likes.
    fn silence_max(&self) -> Option<Duration>;
}
