//! One buffer a thread for reads, so that no connection holds one while it idles.

use std::cell::RefCell;

/// Most bytes of one read.
const SCRATCH_BYTES: usize = 64 << 10;

thread_local! {
    /// A read completes within one poll, so one buffer per thread is enough for all its connections.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into());
}

/// Lends the thread's buffer. `read` must not call this function.
#[inline]
pub fn with_scratch<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| read(scratch))
}
