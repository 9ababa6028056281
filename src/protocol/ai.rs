//! The protocols of the AI SDK (npm `ai`, version 7): a run's publications as the chunks of a UI message, in Server-Sent
//! Events or in the frames of its `WebSocketChatTransport`.
//!
//! All viewers of a run share the bytes of a publication, but what must stand before it depends on what a viewer has
//! got, and so does its number. So the shared bytes begin with a [`FrameMark`](mark::FrameMark), and each session's
//! [`Stamp`](super::Stamp) makes its own bytes of them, in the order in which they are written.

mod chat;
mod chunk;
mod mark;
mod message;
mod request;
mod requests;
mod stream;
#[cfg(test)]
mod tests;

pub use self::chat::{AiChat, AiChatFrames, SUBPROTOCOL};
pub use self::stream::{AiStream, AiStreamEvents, HEADER};
