//! What HTTP, and then a session, is spoken on.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::outbound::Wire;
use crate::tls::Encrypted;

/// A stream of bytes to a client.
pub trait ClientStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// What a flusher may write to at once. None: only the connection can write.
    fn wire(&self) -> Option<Arc<dyn Wire>>;
}

/// What TLS has taken must go out in its order, so nobody else writes.
impl ClientStream for Encrypted {
    fn wire(&self) -> Option<Arc<dyn Wire>> {
        None
    }
}
