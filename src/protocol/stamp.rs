//! What a session writes into its own copy of a shared frame.

use bytes::Bytes;

/// Takes each frame of a session when it gets its place in the order of writing, and returns it as it is
/// written. None: it is not written.
pub type Stamp = Box<dyn FnMut(Bytes) -> Option<Bytes> + Send>;
