//! The behaviour that users, services and operators can rely on, tested with real nodes and a real Redis.
//!
//! Each module covers a part of the contract. The tests do not use the node's internals: they start it as a process and
//! use its sockets, arguments and signals. Only [`rules`] calls the library, to compare patterns in Rust and Lua.

mod access;
mod ai;
mod cluster;
mod config;
mod conversions;
mod doctor;
mod drain;
mod edge;
mod events;
mod fleet_rules;
mod handshake;
mod heartbeat;
mod history;
mod http2;
mod internal;
mod json;
mod latest;
mod log;
mod mercure;
mod mqtt;
mod patterns;
mod presence;
mod presence_functions;
mod presence_info;
mod pusher;
mod redis_failures;
mod redis_tls;
mod relay;
mod reload;
mod requests;
mod revocation;
mod rfc6455;
mod rollup;
mod rules;
mod runs;
mod sentinel;
mod slow_consumer;
mod sse;
mod stomp;
mod streams;
mod tls;
mod tracing;
