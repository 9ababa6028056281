//! A stream of an HTTP/2 connection as a stream of bytes, on which a session runs.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::outbound::Wire;
use crate::transport::stream::ClientStream;

/// Most bytes of a stream that wait in the HTTP/2 layer. Further ones stay in the session's outbound queue,
/// which is bounded.
pub const SEND_BUFFER_BYTES_MAX: usize = 16 << 10;

/// The end of the stream of bytes that a session reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputEnd {
    /// The client's END_STREAM, as the FIN of TCP (RFC 8441 section 5).
    EndStream,
    /// The client's reset or the end of its connection: a request for a streamed response has ended before the
    /// response begins.
    Reset,
}

/// A stream whose response has begun. Dropped before its shutdown, it is reset, and the client's
/// flow control cannot delay that.
pub struct Http2Stream {
    send: SendStream<Bytes>,
    receive: RecvStream,
    /// The part of the last DATA frame that is not yet read.
    received: Bytes,
    input_end: InputEnd,
    is_shut_down: bool,
}

impl Http2Stream {
    pub fn new(send: SendStream<Bytes>, receive: RecvStream, input_end: InputEnd) -> Self {
        Self { send, receive, received: Bytes::new(), input_end, is_shut_down: false }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.input_end {
            InputEnd::EndStream => Poll::Ready(Ok(())),
            InputEnd::Reset => {
                ready!(self.send.poll_reset(cx)).map_err(io::Error::other)?;
                Poll::Ready(Ok(()))
            }
        }
    }
}

/// Waits until the stream takes at least one byte, and returns how many of `wanted` it takes.
pub fn poll_room(
    send: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
    wanted: usize,
) -> Poll<io::Result<usize>> {
    send.reserve_capacity(wanted.min(SEND_BUFFER_BYTES_MAX));
    loop {
        match send.capacity() {
            0 => match ready!(send.poll_capacity(cx)) {
                Some(granted) => drop(granted.map_err(io::Error::other)?),
                // The client has reset the stream, or the connection has ended.
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            },
            room => return Poll::Ready(Ok(room.min(wanted))),
        }
    }
}

impl ClientStream for Http2Stream {
    /// Only the connection writes: all its streams share one socket.
    fn wire(&self) -> Option<Arc<dyn Wire>> {
        None
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_shut_down {
            return Poll::Ready(Ok(()));
        }
        while self.received.is_empty() {
            let Some(bytes) = ready!(self.receive.poll_data(cx)) else { return self.poll_end(cx) };
            let bytes = bytes.map_err(io::Error::other)?;
            let released = self.receive.flow_control().release_capacity(bytes.len());
            released.map_err(io::Error::other)?;
            self.received = bytes;
        }
        let count = self.received.len().min(buffer.remaining());
        buffer.put_slice(&self.received.split_to(count));
        if self.received.is_empty() {
            // Frees the connection's read buffer, of which it is a part.
            self.received = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = slices.iter().map(|slice| slice.len()).sum();
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(poll_room(&mut self.send, cx, wanted))?;
        let mut taken = BytesMut::with_capacity(room);
        for slice in slices {
            let left = room - taken.len();
            taken.extend_from_slice(&slice[..slice.len().min(left)]);
        }
        self.send.send_data(taken.freeze(), false).map_err(io::Error::other)?;
        Poll::Ready(Ok(room))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The connection's task sends what the stream has taken.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut_down {
            self.is_shut_down = true;
            self.send.send_data(Bytes::new(), true).map_err(io::Error::other)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        if !self.is_shut_down {
            self.send.send_reset(Reason::CANCEL);
        }
    }
}
