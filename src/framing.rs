//! What a stream of bytes is cut into: pure functions from payloads to the bytes on the wire. Knows no protocol
//! and no connection.

pub mod sse;
pub mod websocket;
