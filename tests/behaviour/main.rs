//! What users, services and operators can rely on, asked of real nodes and a real Redis.
//!
//! Each module is a part of the contract. Nothing here knows the node's insides: it is started as a
//! process, and spoken to through its sockets, its arguments and its signals. Only [`rules`] asks the library, what a pattern
//! is in Lua, as that is for Redis.

mod access;
mod cluster;
mod config;
mod doctor;
mod drain;
mod edge;
mod fleet_rules;
mod handshake;
mod heartbeat;
mod history;
mod internal;
mod json;
mod latest;
mod log;
mod presence;
mod presence_functions;
mod redis_failures;
mod redis_tls;
mod relay;
mod reload;
mod revocation;
mod rfc6455;
mod rules;
mod sentinel;
mod slow_consumer;
mod sse;
mod tls;
mod tracing;
