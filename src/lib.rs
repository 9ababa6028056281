//! Tidegate: a horizontally scalable WebSocket gateway with Redis fan-out.
//!
//! The path of a publication, from one client's socket to everybody else's:
//!
//! 1. [`transport`]: a socket becomes frames, frames become messages.
//! 2. [`session`]: one task a connection; what it may do, and when.
//! 3. [`protocol`]: a message becomes a command.
//! 4. [`hub`]: the command becomes a publication, handed to the broker.
//! 5. [`broker`]: carries it to every node that wants the channel, this one too.
//! 6. [`hub`] again: encoded once, put in line for each local subscriber.
//! 7. [`outbound`]: the bounded queue to one socket.
//! 8. [`transport`] again: all that is queued leaves in one write.
//!
//! Rooms in reading order; each imports only from those below it (`tests/architecture/`).

#![forbid(unsafe_code)]
// A panic belongs to a broken invariant, and `expect` says in words why it holds.
#![warn(clippy::unwrap_used, clippy::panic)]

pub mod cli;
pub mod gateway;

pub mod config;

pub mod internal;
pub mod transport;

pub mod fleet;
pub mod session;

pub mod hub;

pub mod presence;

pub mod auth;
pub mod broker;
pub mod clock;
pub mod drain;
pub mod lag;
pub mod memory;

pub mod listener;
pub mod outbound;
pub mod tls;

pub mod vital;

pub mod telemetry;

pub mod dial;
pub mod http;
pub mod limits;
pub mod protocol;

pub mod backoff;
pub mod close;
pub mod framing;
pub mod live;
pub mod publication;
pub mod rules;
pub mod settings;
pub mod sharded;
