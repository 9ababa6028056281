//! The interface between a session and its transport.

use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Instant;

use crate::close::Close;
use crate::outbound::Outbound;
use crate::protocol::Message;

/// A client's connection as the session uses it. The transport implements heartbeats and the close handshake.
pub trait Connection: Send {
    /// Polls for the next event of the socket. Also writes the outbound queue.
    ///
    /// Cancel safe: data that was read or partly written is kept. With `reading` false the transport reads
    /// nothing, so that TCP flow control slows the client down.
    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        outbound: &Outbound,
        reading: bool,
    ) -> Poll<ConnectionEvent>;

    /// When to call [`Connection::check_heartbeat`] next.
    fn next_heartbeat(&self) -> Instant;

    /// Sends a heartbeat if one is due. Returns the close reason if the client has not answered one in time.
    ///
    /// `excused`: a missing answer does not prove that the client is dead.
    fn check_heartbeat(
        &mut self,
        now: Instant,
        excused: bool,
        outbound: &Outbound,
    ) -> Option<Close>;

    /// Writes the queued frames and the protocol's `last` bytes, waits a bounded time for the client to
    /// close too, and closes the socket.
    fn close(
        &mut self,
        close: Close,
        last: Option<Bytes>,
        outbound: &Outbound,
    ) -> impl Future<Output = ()> + Send;
}

/// An event on a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum ConnectionEvent {
    Message(Message),
    /// The client sent a heartbeat, which the transport has answered.
    Heartbeat,
    /// The client closed, with a WebSocket close code if it sent one. Nothing follows.
    Close(Option<u16>),
    /// The client violated the protocol. Nothing after it can be decoded.
    Violation(Close),
    /// The node's settings changed, or the drain asks the session to end.
    Notified,
    /// The connection must end for this reason.
    End(Close),
}
