//! The cost and the memory of queued frames.

use std::collections::VecDeque;

use bytes::Bytes;

/// The cost of a queued frame besides its bytes, so that a flood of tiny frames is bounded too.
pub const FRAME_OVERHEAD_BYTES: usize = size_of::<Bytes>();

/// An empty deque with a greater capacity than this is freed.
const SPARE_FRAMES_MAX: usize = 4;

/// What a frame counts against the bound, in bytes.
pub fn cost(frame: &Bytes) -> usize {
    frame.len() + FRAME_OVERHEAD_BYTES
}

/// Frees the memory of an empty deque.
pub fn free_if_empty(frames: &mut VecDeque<Bytes>) {
    if frames.capacity() > SPARE_FRAMES_MAX {
        *frames = VecDeque::new();
    }
}

/// Drops all frames but the one of which `front_written` bytes are written. Returns the cost of the dropped
/// ones.
pub fn drop_unwritten(frames: &mut VecDeque<Bytes>, front_written: usize) -> usize {
    let begun = usize::from(front_written > 0);
    frames.drain(begun..).map(|frame| cost(&frame)).sum()
}
