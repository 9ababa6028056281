//! How a stream of bytes is divided: pure functions from payloads to the bytes on the wire. Knows no protocol
//! and no connection.

pub mod chunked;
pub mod sse;
pub mod websocket;
