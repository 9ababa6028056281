//! The stream on which HTTP and then a session run.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::outbound::Wire;
use crate::tls::Encrypted;

/// A stream of bytes to a client.
pub trait ClientStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The wire to which flushers write directly. None: only the connection can write.
    fn wire(&self) -> Option<Arc<dyn Wire>>;
}

/// Only the connection writes, because TLS records must be sent in order.
impl ClientStream for Encrypted {
    fn wire(&self) -> Option<Arc<dyn Wire>> {
        None
    }
}
