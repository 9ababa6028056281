//! Frames in a row: what they cost, and the room they take.

use std::collections::VecDeque;

use bytes::Bytes;

/// What a queued frame costs beside its bytes, so that a flood of tiny frames is bounded too.
pub const FRAME_OVERHEAD_BYTES: usize = size_of::<Bytes>();

/// A row that has room for more frames than this gives the room back when it runs empty.
const SPARE_FRAMES_MAX: usize = 4;

/// What a frame counts against the bound, in bytes.
pub fn cost(frame: &Bytes) -> usize {
    frame.len() + FRAME_OVERHEAD_BYTES
}

/// Gives back the room of an empty row.
pub fn give_back_room(frames: &mut VecDeque<Bytes>) {
    if frames.capacity() > SPARE_FRAMES_MAX {
        *frames = VecDeque::new();
    }
}

/// Drops all but the frame of which `front_written` bytes are out. Returns the cost of those dropped.
pub fn drop_unbegun(frames: &mut VecDeque<Bytes>, front_written: usize) -> usize {
    let begun = usize::from(front_written > 0);
    frames.drain(begun..).map(|frame| cost(&frame)).sum()
}
