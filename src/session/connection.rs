//! What a session needs of a transport.

use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::close::Close;
use crate::outbound::Outbound;
use crate::protocol::Message;

/// One client's connection, as a session sees it. Heartbeats and the bytes that end it are the transport's own.
pub trait Connection: Send {
    /// What happens next on the socket. Writes what the outbound queue holds meanwhile.
    ///
    /// Cancel safe: what was read or half written is kept. With `reading` off, nothing new is read,
    /// so that the client's own socket holds it back.
    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        outbound: &Outbound,
        reading: bool,
    ) -> Poll<ConnectionEvent>;

    /// When [`Connection::beat`] is to be called next.
    fn next_beat(&self) -> Instant;

    /// Sends the heartbeat that is due by now, if one is. Some: the client is dead, as it has not answered one in time.
    ///
    /// `excused`: the client's silence so far proves nothing.
    fn beat(&mut self, now: Instant, excused: bool, outbound: &Outbound) -> Option<Close>;

    /// Writes what is queued and the bytes that say why, waits up to a bound for the client to close too, and
    /// closes the socket.
    fn close(&mut self, close: Close, outbound: &Outbound) -> impl Future<Output = ()> + Send;
}

/// What happens on a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum ConnectionEvent {
    Message(Message),
    /// The client sent a heartbeat of its own, which the transport has answered.
    Heartbeat,
    /// The client closes, with a WebSocket's code where it gave one; nothing follows.
    Close(Option<u16>),
    /// The client broke a rule; nothing after it can be understood.
    Violation(Close),
    /// The node's settings have changed, or the session is asked to leave.
    Nudge,
    /// The connection is to end for this reason.
    End(Close),
}
