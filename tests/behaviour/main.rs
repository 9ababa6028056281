//! What users, services and operators can rely on, asked of real nodes and a real Redis.
//!
//! Each module is a part of the contract. Nothing here knows the node's insides: it is started as a
//! process, and spoken to through its sockets, its arguments and its signals.

#[allow(dead_code, reason = "the chaos suite uses the rest")]
mod support;

mod config;
mod drain;
mod handshake;
mod heartbeat;
mod internal;
mod json;
mod redis_failures;
mod relay;
mod rfc6455;
mod slow_consumer;
