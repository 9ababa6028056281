//! HTTP/2 connections, and sessions on them.

use super::metrics::METRICS;
use crate::protocol::Format;

/// Counts an HTTP/2 connection until it is dropped.
pub struct OpenHttp2Connection;

/// An HTTP/2 connection was opened.
pub fn http2_connection_opened() -> OpenHttp2Connection {
    METRICS.connections.http2_connections.inc();
    OpenHttp2Connection
}

impl Drop for OpenHttp2Connection {
    fn drop(&mut self) {
        METRICS.connections.http2_connections.dec();
    }
}

/// Counts a session on an HTTP/2 connection until it is dropped.
pub struct OpenHttp2Session(Format);

/// A session started on a stream of an HTTP/2 connection.
pub fn http2_session_started(format: Format) -> OpenHttp2Session {
    METRICS.connections.http2_sessions[format as usize].inc();
    OpenHttp2Session(format)
}

impl Drop for OpenHttp2Session {
    fn drop(&mut self) {
        METRICS.connections.http2_sessions[self.0 as usize].dec();
    }
}
