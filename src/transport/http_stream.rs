//! The stream of a connection that carries HTTP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::request_deadline::RequestDeadline;

/// A stream that first returns bytes which were read before, and reports to the deadline what arrives.
pub struct HttpStream<S> {
    stream: S,
    early: Vec<u8>,
    deadline: Arc<RequestDeadline>,
    /// Whether the socket has not taken all that was written.
    is_blocked: bool,
}

impl<S> HttpStream<S> {
    /// `early`: bytes that the client has sent already.
    pub fn new(stream: S, early: Vec<u8>, deadline: Arc<RequestDeadline>) -> Self {
        Self { stream, early, deadline, is_blocked: false }
    }

    /// The stream, and the early bytes that were not read.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.early)
    }

    /// Whether the socket has not taken all that was written.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HttpStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.early.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        } else {
            let count = self.early.len().min(buffer.remaining());
            buffer.put_slice(&self.early[..count]);
            self.early.drain(..count);
            if self.early.is_empty() {
                self.early = Vec::new();
            }
        }
        if buffer.filled().len() > before {
            self.deadline.bytes_arrived(Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HttpStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.is_blocked = written.is_pending();
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.is_blocked = written.is_pending();
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn early_bytes_are_read_before_those_of_the_stream() {
        let (near, mut far) = tokio::io::duplex(64);
        let deadline = RequestDeadline::after_response(Duration::from_secs(1), Instant::now());
        let (deadline, idle_until) = (Arc::new(deadline), Instant::now() + Duration::from_secs(10));
        let mut stream = HttpStream::new(near, b"early ".to_vec(), deadline.clone());
        assert!(deadline.at() > Some(idle_until));
        far.write_all(b"late").await.unwrap();
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).await.unwrap();
        assert!(deadline.at() < Some(idle_until), "a request's head is arriving");
        assert_eq!((&bytes[..], &stream.early[..]), (&b"earl"[..], &b"y "[..]));
        let mut rest = [0; 6];
        stream.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"y late");
        assert!(stream.into_parts().1.is_empty());
    }
}
