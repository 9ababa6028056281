//! Writes the frames of an outbound queue, as many at once as the kernel takes.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::time::timeout;

use crate::close::Close;
use crate::outbound::{FrameBatch, Outbound};
use crate::telemetry;

/// How long writing the queued frames and the last bytes may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// `CLOSE_TIMEOUT` while the node is short of memory.
const CLOSE_TIMEOUT_SHORT: Duration = Duration::from_secs(1);

/// The connection's side of its outbound queue.
#[derive(Default)]
pub struct ConnectionWriter {
    batch: FrameBatch,
    /// Whether something was written since the last complete flush.
    needs_flush: bool,
}

impl ConnectionWriter {
    /// Writes the queued frames. Ready: the connection must end.
    pub fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        outbound: &Outbound,
    ) -> Poll<Close> {
        loop {
            if self.batch.frames.is_empty()
                && !self.needs_flush
                && let Err(close) = ready!(outbound.poll_take(cx, &mut self.batch))
            {
                return Poll::Ready(close);
            }
            // Also after the last frame: TLS may hold the last bytes until it is flushed.
            self.needs_flush = true;
            match write_batch(stream, cx, &mut self.batch) {
                Poll::Ready(Ok(())) => self.needs_flush = false,
                Poll::Ready(Err(_)) => return Poll::Ready(Close::Lost),
                Poll::Pending => return outbound.poll_closing(cx),
            }
        }
    }

    /// Closes the queue for this reason, and writes what is still in it and then the `last` bytes. Returns
    /// false if the socket is broken or has not taken them in time.
    pub async fn write_rest<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        close: Close,
        outbound: &Outbound,
        last: Option<Bytes>,
    ) -> bool {
        outbound.close(close);
        let time_limit = match close {
            // The node needs the memory of the partly written frame soon.
            Close::Overloaded => CLOSE_TIMEOUT_SHORT,
            _ => CLOSE_TIMEOUT,
        };
        if close.drops_queue() {
            // Only the partly written frame must be completed; the client was too slow for the rest.
            self.batch.truncate_to_frame();
        }
        let writing = async {
            loop {
                if !self.write_all(stream).await {
                    return false;
                }
                if poll_fn(|cx| outbound.poll_take(cx, &mut self.batch)).await.is_err() {
                    break;
                }
            }
            self.batch.frames.extend(last);
            self.write_all(stream).await
        };
        timeout(time_limit, writing).await == Ok(true)
    }

    /// Returns false if the socket is broken.
    async fn write_all<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> bool {
        poll_fn(|cx| write_batch(stream, cx, &mut self.batch)).await.is_ok()
    }
}

/// Writes the whole batch in as few writes as the kernel allows. After Pending, the next call continues with
/// the same batch.
fn write_batch<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    batch: &mut FrameBatch,
) -> Poll<io::Result<()>> {
    while !batch.frames.is_empty() {
        let write = batch.write_next(
            |slices| Pin::new(&mut *stream).poll_write_vectored(cx, slices),
            |write| match write {
                Poll::Ready(Ok(bytes)) => *bytes,
                _ => 0,
            },
        );
        match ready!(write)? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            bytes => telemetry::sent_bytes(bytes),
        }
    }
    // TLS may hold the last bytes in a buffer until it is flushed.
    Pin::new(stream).poll_flush(cx)
}
