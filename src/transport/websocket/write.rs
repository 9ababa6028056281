//! Writing many frames at once.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::outbound::Batch;
use crate::telemetry;

/// Frames in one write where few wait, as they mostly do.
const FEW: usize = 16;

/// Most frames in one write: what the kernel takes (`IOV_MAX`).
const MANY: usize = 1024;

/// Writes the whole batch in as few writes as the kernel lets us. `written`: bytes of the first
/// frame that are through; Pending leaves batch and `written` such that the next call goes on.
pub fn write_batch<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    batch: &mut Batch,
    written: &mut usize,
) -> Poll<io::Result<()>> {
    while !batch.frames.is_empty() {
        let bytes = match batch.frames.len() {
            0..=FEW => ready!(write_some::<FEW, S>(stream, cx, batch, *written))?,
            _ => ready!(write_some::<MANY, S>(stream, cx, batch, *written))?,
        };
        if bytes == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        telemetry::sent_bytes(bytes);
        *written += bytes;
        while let Some(first) = batch.frames.front()
            && *written >= first.len()
        {
            *written -= first.len();
            batch.pop_written();
        }
    }
    // Over TLS the last bytes may sit in a buffer till somebody asks.
    Pin::new(stream).poll_flush(cx)
}

fn write_some<const N: usize, S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    batch: &Batch,
    written: usize,
) -> Poll<io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); N];
    let mut skip = written;
    let mut filled = 0;
    for (slice, frame) in slices.iter_mut().zip(&batch.frames) {
        *slice = IoSlice::new(&frame[skip..]);
        skip = 0;
        filled += 1;
    }
    Pin::new(stream).poll_write_vectored(cx, &slices[..filled])
}
