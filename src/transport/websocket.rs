//! A WebSocket on a socket: reads when data arrives, answers and sends heartbeats, writes all queued frames
//! at once, and holds no buffer while it idles.

mod decoder;
pub mod handshake;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};

pub use self::decoder::{Decoder, Incoming};
use super::heartbeat::{Beat, Heartbeat};
use super::scratch::with_scratch;
use super::writer::ConnectionWriter;
use crate::close::Close;
use crate::framing::websocket;
use crate::outbound::Outbound;
use crate::session::{Config, Connection, ConnectionEvent};
use crate::telemetry;

/// How many consecutive events are handled before other tasks get a turn.
const TURN: usize = 64;

/// How many events a read counts for: it may bring ten thousand fragments and no event.
const READ_WORK: usize = TURN / 2;

/// How long the close handshake may take when the client is expected to take part in it.
const CLOSE_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The same for a client that violated the protocol or was silent.
const CLOSE_HANDSHAKE_TIMEOUT_SHORT: Duration = Duration::from_secs(1);

/// A socket after its upgrade.
pub struct WebSocket<S> {
    stream: S,
    decoder: Decoder,
    /// Bytes read but not yet decoded. Empty while the connection idles.
    buffered: Vec<u8>,
    /// How many bytes of `buffered` are decoded.
    decoded: usize,
    writer: ConnectionWriter,
    heartbeat: Heartbeat,
    receiving: ReceiveState,
    /// The work done since the socket was empty or other tasks had a turn.
    work: usize,
}

/// What is still expected from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReceiveState {
    Frames,
    /// It violated the protocol: further bytes are read and dropped before the socket is closed.
    Discard,
    /// It sent its close frame, or can send nothing more.
    Nothing,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> WebSocket<S> {
    /// `early`: bytes that the client sent directly after its request.
    pub fn new(stream: S, early: Vec<u8>, config: &Arc<Config>) -> Self {
        Self {
            stream,
            decoder: Decoder::new(config.message_bytes_max),
            buffered: early,
            decoded: 0,
            writer: ConnectionWriter::default(),
            heartbeat: Heartbeat::new(config.clone(), Instant::now()),
            receiving: ReceiveState::Frames,
            work: 0,
        }
    }

    /// The next item of what has been read already.
    fn next_buffered(&mut self) -> Option<Incoming> {
        if self.buffered.is_empty() {
            return None;
        }
        let (taken, incoming) = self.decoder.decode(&mut self.buffered[self.decoded..]);
        self.decoded += taken;
        if self.decoded == self.buffered.len() {
            self.buffered = Vec::new();
            self.decoded = 0;
        } else if incoming.is_none() {
            // The rest is the beginning of a frame, a few bytes.
            self.buffered.drain(..self.decoded);
            self.buffered.shrink_to_fit();
            self.decoded = 0;
        }
        incoming.map(|incoming| self.update_state(incoming))
    }

    fn update_state(&mut self, incoming: Incoming) -> Incoming {
        match incoming {
            Incoming::Close(_) | Incoming::Lost => self.receiving = ReceiveState::Nothing,
            Incoming::Violation(_) => {
                self.receiving = ReceiveState::Discard;
                self.buffered = Vec::new();
            }
            _ => {}
        }
        incoming
    }

    /// The session's event for an item. None: the transport handles it alone.
    fn event(&mut self, incoming: Incoming, outbound: &Outbound) -> Option<ConnectionEvent> {
        self.heartbeat.frame_received();
        Some(match incoming {
            Incoming::Message(message) => ConnectionEvent::Message(message),
            Incoming::Ping(payload) => {
                outbound.push_own_or_close(websocket::pong(&payload));
                ConnectionEvent::Heartbeat
            }
            Incoming::Pong(payload) => {
                if let Some(round_trip) = self.heartbeat.pong(&payload, Instant::now()) {
                    telemetry::pong_received(round_trip);
                }
                return None;
            }
            Incoming::Close(code) => ConnectionEvent::Close(code),
            Incoming::Violation(close) => ConnectionEvent::Violation(close),
            Incoming::Lost => ConnectionEvent::End(Close::Lost),
        })
    }

    /// Reads once from the socket, unless other tasks get a turn first. `None`: data was read, but no
    /// complete item.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        ready!(self.poll_turn(cx));
        let read = self.poll_read_once(cx);
        self.work = if read.is_ready() { self.work + READ_WORK } else { 0 };
        read
    }

    /// Pending: other tasks get a turn first.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.work < TURN {
            return Poll::Ready(());
        }
        self.work = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_read_once(&mut self, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        with_scratch(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            let bytes = buffer.filled_mut();
            if read.is_err() || bytes.is_empty() {
                return Poll::Ready(Some(self.update_state(Incoming::Lost)));
            }
            telemetry::received_bytes(bytes.len());
            if self.receiving == ReceiveState::Discard {
                return Poll::Ready(None);
            }
            if !self.buffered.is_empty() {
                self.buffered.extend_from_slice(bytes);
                return Poll::Ready(self.next_buffered());
            }
            let (taken, incoming) = self.decoder.decode(bytes);
            self.buffered.extend_from_slice(&bytes[taken..]);
            Poll::Ready(incoming.map(|incoming| self.update_state(incoming)))
        })
    }

    /// Reads and drops data until the client's close frame or the end. Closing a socket with unread bytes
    /// resets it, and the client might lose the close frame.
    async fn discard_input(&mut self) {
        while self.receiving != ReceiveState::Nothing {
            if self.next_buffered().is_none() {
                poll_fn(|cx| self.poll_read(cx).map(drop)).await;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection for WebSocket<S> {
    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        outbound: &Outbound,
        reading: bool,
    ) -> Poll<ConnectionEvent> {
        if outbound.take_notification() {
            return Poll::Ready(ConnectionEvent::Notified);
        }
        loop {
            // Messages that were read together are answered together: nothing is written before all are
            // decoded.
            if reading && !self.buffered.is_empty() {
                ready!(self.poll_turn(cx));
                if let Some(incoming) = self.next_buffered() {
                    self.work += 1;
                    match self.event(incoming, outbound) {
                        Some(event) => return Poll::Ready(event),
                        None => continue,
                    }
                }
            }
            if let Poll::Ready(close) = self.writer.poll_write(&mut self.stream, cx, outbound) {
                return Poll::Ready(ConnectionEvent::End(close));
            }
            if !reading {
                return Poll::Pending;
            }
            if let Some(incoming) = ready!(self.poll_read(cx))
                && let Some(event) = self.event(incoming, outbound)
            {
                return Poll::Ready(event);
            }
        }
    }

    fn next_heartbeat(&self) -> Instant {
        self.heartbeat.next()
    }

    fn check_heartbeat(
        &mut self,
        now: Instant,
        excused: bool,
        outbound: &Outbound,
    ) -> Option<Close> {
        if excused {
            self.heartbeat.frame_received();
        }
        match self.heartbeat.check(now) {
            Beat::Ping(payload) => outbound.push_own_or_close(websocket::ping(&payload)),
            Beat::Dead(close) => return Some(close),
            Beat::Wait => {}
        }
        None
    }

    async fn close(&mut self, close: Close, last: Option<Bytes>, outbound: &Outbound) {
        if close == Close::Lost {
            return;
        }
        if !self.writer.write_rest(&mut self.stream, close, outbound, last).await {
            return;
        }
        if self.receiving == ReceiveState::Discard {
            // The client's close frame could not be decoded, so the socket is shut down as soon as the reason
            // is written.
            let _ = timeout(CLOSE_HANDSHAKE_TIMEOUT_SHORT, self.stream.shutdown()).await;
        }
        let time_limit = match close {
            Close::Client(_) | Close::Slow | Close::Unavailable => CLOSE_HANDSHAKE_TIMEOUT,
            Close::Drain { .. } | Close::Rebalance { .. } => CLOSE_HANDSHAKE_TIMEOUT,
            _ => CLOSE_HANDSHAKE_TIMEOUT_SHORT,
        };
        // The socket is closed now, whether the close handshake is complete or not.
        let _ = timeout(time_limit, self.discard_input()).await;
        // Sends the TLS `close_notify`.
        let _ = timeout(CLOSE_HANDSHAKE_TIMEOUT_SHORT, self.stream.shutdown()).await;
    }
}

#[cfg(test)]
mod tests;
