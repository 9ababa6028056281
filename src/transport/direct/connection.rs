//! A client's stream of bytes without frames around its packets.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};

use crate::close::Close;
use crate::outbound::Outbound;
use crate::protocol::Message;
use crate::publication::PayloadKind;
use crate::session::{Connection, ConnectionEvent};
use crate::telemetry;
use crate::transport::scratch::with_scratch;
use crate::transport::writer::ConnectionWriter;

/// How many reads follow one another before other tasks get a turn.
const TURN: usize = 2;

/// How long the client may take to close its side.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Most bytes that are read and dropped meanwhile.
const DISCARDED_BYTES_MAX: u64 = 1 << 20;

/// In place of the time of a heartbeat: this transport has none.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A connection whose messages are what one read has brought.
pub struct DirectConnection<S> {
    stream: S,
    writer: ConnectionWriter,
    /// The reads since the socket was empty or other tasks had a turn.
    reads: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> DirectConnection<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, writer: ConnectionWriter::default(), reads: 0 }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionEvent> {
        if self.reads == TURN {
            self.reads = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let stream = &mut self.stream;
        let read = with_scratch(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            let read = ready!(Pin::new(stream).poll_read(cx, &mut buffer));
            Poll::Ready(read.map(|()| Bytes::copy_from_slice(buffer.filled())))
        });
        self.reads = if read.is_ready() { self.reads + 1 } else { 0 };
        Poll::Ready(match ready!(read) {
            Ok(payload) if !payload.is_empty() => {
                telemetry::received_bytes(payload.len());
                ConnectionEvent::Message(Message { kind: PayloadKind::Binary, payload })
            }
            _ => ConnectionEvent::End(Close::Lost),
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection for DirectConnection<S> {
    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        outbound: &Outbound,
        reading: bool,
    ) -> Poll<ConnectionEvent> {
        if outbound.take_notification() {
            return Poll::Ready(ConnectionEvent::Notified);
        }
        if let Poll::Ready(close) = self.writer.poll_write(&mut self.stream, cx, outbound) {
            return Poll::Ready(ConnectionEvent::End(close));
        }
        match reading {
            true => self.poll_read(cx),
            false => Poll::Pending,
        }
    }

    fn next_heartbeat(&self) -> Instant {
        Instant::now() + NEVER
    }

    fn check_heartbeat(&mut self, _: Instant, _: bool, _: &Outbound) -> Option<Close> {
        None
    }

    async fn close(&mut self, close: Close, last: Option<Bytes>, outbound: &Outbound) {
        if close == Close::Lost {
            return;
        }
        if !self.writer.write_rest(&mut self.stream, close, outbound, last).await {
            return;
        }
        let stream = &mut self.stream;
        let closing = async {
            stream.shutdown().await?;
            // Closing a socket with unread bytes resets it, and the client might lose the last packet.
            let mut rest = stream.take(DISCARDED_BYTES_MAX);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
        };
        // The socket is closed now, whether the client has closed its side or not.
        let _ = timeout(CLOSE_TIMEOUT, closing).await;
    }
}
