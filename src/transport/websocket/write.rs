//! Writing many frames at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::outbound::Batch;
use crate::telemetry;

/// Writes the whole batch in as few writes as the kernel lets us. Pending leaves the batch such that
/// the next call goes on.
pub fn write_batch<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    batch: &mut Batch,
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
