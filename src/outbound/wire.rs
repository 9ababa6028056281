//! The socket, as flushers see it.

use std::io::{self, IoSlice};

/// A socket that takes bytes at once or not at all.
pub trait Wire: Send + Sync {
    /// Writes what fits. `WouldBlock`: nothing does.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}
