//! The socket as flushers use it.

use std::io::{self, IoSlice};

/// A socket that takes bytes without waiting.
pub trait Wire: Send + Sync {
    /// Writes as much as fits. `WouldBlock`: nothing fits.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}
