//! The cast of the stories: nodes, Redis, clients that keep the rules and clients that break them.

pub mod authority;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod collector;
pub mod fleet;
pub mod http;
pub mod network;
pub mod node;
mod patience;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod redis;
pub mod sentinel;
pub mod token;
pub mod trusting;

pub use patience::{eventually, soon};

/// What subscribers are told of an interruption.
pub const GAP_REASON: &str = "broker_reconnected";
