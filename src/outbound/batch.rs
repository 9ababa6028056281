//! Frames that are being written, as many in one write as the kernel takes.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use super::frames::{cost, drop_unwritten, free_if_empty};
use super::wire::Wire;

/// Slots for one write when few frames are queued, which is the usual case.
const SLICES_USUAL: usize = 16;

/// Most frames in one write: what the kernel takes (`IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// The frames that one writer has taken, and how much of the first is written.
#[derive(Debug, Default)]
pub struct FrameBatch {
    pub frames: VecDeque<Bytes>,
    pub(super) front_written: usize,
    /// Cost of the frames written since the last `settle`.
    written_cost: usize,
}

impl FrameBatch {
    /// Calls `write` with the next frames; `bytes` returns how many bytes its result reports as written.
    pub fn write_next<R>(
        &mut self,
        write: impl FnOnce(&[IoSlice<'_>]) -> R,
        bytes: impl FnOnce(&R) -> usize,
    ) -> R {
        let result = match self.frames.len() {
            0..=SLICES_USUAL => self.with_slices::<SLICES_USUAL, R>(write),
            _ => self.with_slices::<SLICES_MAX, R>(write),
        };
        self.advance(bytes(&result));
        result
    }

    /// Passes each frame to `take` instead of writing it.
    pub fn take_frames(&mut self, mut take: impl FnMut(Bytes)) {
        self.front_written = 0;
        for frame in self.frames.drain(..) {
            self.written_cost += cost(&frame);
            take(frame);
        }
    }

    /// Writes until everything is written or until the socket would block or fails. Returns the bytes.
    pub(super) fn write_to(&mut self, wire: &dyn Wire) -> usize {
        let mut written = 0;
        while !self.frames.is_empty() {
            match self.write_next(|slices| wire.try_write(slices).unwrap_or(0), |bytes| *bytes) {
                0 => break,
                bytes => written += bytes,
            }
        }
        written
    }

    fn with_slices<const N: usize, R>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        let mut slices = [IoSlice::new(&[]); N];
        let mut skip = self.front_written;
        let mut filled = 0;
        for (slice, frame) in slices.iter_mut().zip(&self.frames) {
            *slice = IoSlice::new(&frame[skip..]);
            skip = 0;
            filled += 1;
        }
        write(&slices[..filled])
    }

    fn advance(&mut self, bytes: usize) {
        self.front_written += bytes;
        while let Some(first) = self.frames.front()
            && self.front_written >= first.len()
        {
            self.front_written -= first.len();
            self.written_cost += cost(first);
            self.frames.pop_front();
        }
    }

    /// The cost of the frames written since the last call.
    pub(super) fn settle(&mut self) -> usize {
        std::mem::take(&mut self.written_cost)
    }

    pub(super) fn free_if_empty(&mut self) {
        free_if_empty(&mut self.frames);
    }

    /// Drops all frames but the partly written one.
    pub fn truncate_to_frame(&mut self) {
        self.written_cost += drop_unwritten(&mut self.frames, self.front_written);
    }
}
