//! STOMP 1.0, 1.1 and 1.2 over WebSockets: frames of text with headers, which a message of the WebSocket may hold in parts or
//! several.
//!
//! All subscribers of a channel share the bytes of a publication's body and of most headers. Each session has a stamp, which
//! adds the headers of its subscriptions when the frame takes its place in the order of writing.

mod acknowledging;
mod close_code;
mod command;
mod destination;
mod fault;
mod frame;
mod headers;
mod heartbeat;
mod input;
mod receipts;
mod session;
mod shared;
mod subscriptions;
#[cfg(test)]
mod tests;
mod transactions;
mod version;
mod written;

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use self::session::StompSession;
pub use self::session::StompSettings;
use super::{
    Decoded, Encode, Format, Message, Packets, Push, Reply, ReplyError, SessionBeat,
    SessionControl, Speak, Stamp, Will,
};
use crate::close::Close;
use crate::publication::{Channel, Publication, ReplayStart, SessionId};

/// The subprotocols, by which a client says that it speaks STOMP. Which version, its CONNECT says.
pub const SUBPROTOCOLS: [&str; 3] = ["v12.stomp", "v11.stomp", "v10.stomp"];

/// A session of STOMP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stomp(Arc<StompSession>);

impl Stomp {
    pub fn new(settings: StompSettings) -> Self {
        Self(Arc::new(StompSession::new(settings)))
    }
}

impl Speak for Stomp {
    fn begin(&mut self, session: SessionId) {
        self.0.begin(session);
    }

    fn packets(&self) -> Option<Box<dyn Packets>> {
        None
    }

    fn decode(&self, message: Message, _: usize) -> Decoded {
        command::decode(&self.0, message)
    }

    fn reply(&self, reply: &Reply) -> Option<Bytes> {
        self.0.reply(reply)
    }

    fn nothing_kept(&self, _: &Channel) -> Option<Bytes> {
        None
    }

    fn refuse(&self, error: ReplyError, _: Close) -> Result<Reply, Close> {
        Ok(Reply::Error(error))
    }

    fn format(&self) -> Format {
        Format::Stomp
    }

    fn subscription(&self, _: &Channel) -> (Format, Option<Stamp>) {
        (self.format(), None)
    }

    fn last_bytes(&self, close: Close) -> Option<Bytes> {
        Some(self.0.last_bytes(close))
    }

    fn channels(&self) -> &[Channel] {
        &[]
    }

    fn start_of_run(&mut self) -> Option<ReplayStart> {
        None
    }

    fn stamp(&self) -> Option<Stamp> {
        let session = self.0.clone();
        Some(Box::new(move |frame| session.lock().subscriptions.stamped(frame)))
    }

    fn member_stamp(&self) -> Option<Stamp> {
        None
    }

    fn take_will(&self, _: Close) -> Option<Will> {
        None
    }

    fn publishes(&self) -> bool {
        true
    }

    fn takes_tokens(&self) -> bool {
        true
    }

    /// A MESSAGE needs the subscription that the client has named.
    fn subscribes_listed(&self) -> bool {
        false
    }

    fn control(&self) -> Option<&dyn SessionControl> {
        Some(self)
    }
}

impl SessionControl for Stomp {
    fn next_beat(&self) -> Option<Instant> {
        self.0.lock().beats.next()
    }

    fn check_beat(&self, now: Instant, is_excused: bool) -> SessionBeat {
        self.0.lock().beats.check(now, is_excused)
    }

    fn end_reason(&self) -> Option<Close> {
        self.0.end_reason()
    }
}

/// What the sessions of the protocol share of their frames.
pub struct StompFrames;

impl Encode for StompFrames {
    fn publication(channel: &str, publication: &Publication) -> Bytes {
        shared::publication(channel, publication)
    }

    fn push(push: &Push<'_>) -> Option<Bytes> {
        match push {
            Push::Gap { channel, reason } => {
                let headers = subscriptions::notice_lines(subscriptions::GAP, reason, None);
                Some(shared::notice(channel, &headers))
            }
            Push::Ended { channel, reason, position } => {
                let (receipt, reason) = (subscriptions::ENDED, reason.as_str());
                let headers = subscriptions::notice_lines(receipt, reason, *position);
                Some(shared::notice(channel, &headers))
            }
            Push::Reconnect { after, reason } => {
                let text = "reconnect: the node asks its clients to leave";
                Some(written::error(reason, text, Some(after.as_millis())))
            }
            // CONNECTED is the answer to CONNECT.
            Push::Welcome { .. } | Push::Presence { .. } | Push::PatternGap { .. } => None,
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
