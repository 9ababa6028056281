//! Writing what an outbound queue holds, as much at once as the kernel takes.

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

/// How long what is queued, and the last bytes, may take to get out.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The same where memory is short.
const CLOSE_TIMEOUT_SHORT: Duration = Duration::from_secs(1);

/// The connection's side of its outbound queue.
#[derive(Default)]
pub struct ConnectionWriter {
    batch: FrameBatch,
    /// Something was written since it was last all flushed.
    owes_flush: bool,
}

impl ConnectionWriter {
    /// Writes what is queued. Ready: the connection is to end.
    pub fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        outbound: &Outbound,
    ) -> Poll<Close> {
        loop {
            if self.batch.frames.is_empty()
                && !self.owes_flush
                && let Err(close) = ready!(outbound.poll_take(cx, &mut self.batch))
            {
                return Poll::Ready(close);
            }
            // Also when all frames are through: TLS may hold the last bytes until it is asked to flush.
            self.owes_flush = true;
            match write_batch(stream, cx, &mut self.batch) {
                Poll::Ready(Ok(())) => self.owes_flush = false,
                Poll::Ready(Err(_)) => return Poll::Ready(Close::Lost),
                Poll::Pending => return outbound.poll_closing(cx),
            }
        }
    }

    /// Ends the queue for this reason, and writes what is still in it and then the `last` bytes. False: the socket is
    /// broken, or has not taken them in time.
    pub async fn write_rest<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        close: Close,
        outbound: &Outbound,
        last: Option<Bytes>,
    ) -> bool {
        outbound.close(close);
        let patience = match close {
            // What it has half written is wanted back.
            Close::Overloaded => CLOSE_TIMEOUT_SHORT,
            _ => CLOSE_TIMEOUT,
        };
        if close.drops_queue() {
            // Only what is half out must be finished; the rest is what it was too slow for.
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
        timeout(patience, writing).await == Ok(true)
    }

    /// False: the socket is broken.
    async fn write_all<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> bool {
        poll_fn(|cx| write_batch(stream, cx, &mut self.batch)).await.is_ok()
    }
}

/// Writes the whole batch in as few writes as the kernel lets us. Pending leaves the batch such that
/// the next call goes on.
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
    // Over TLS the last bytes may sit in a buffer till somebody asks.
    Pin::new(stream).poll_flush(cx)
}
