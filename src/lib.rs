//! Tidegate: a WebSocket gateway of equal nodes, with Redis between them.
//!
//! The path of a publication, from one client's socket to all subscribers' sockets:
//!
//! 1. [`transport`] reads the socket and decodes frames.
//! 2. [`session`], one task for each client, passes each message to its [`protocol`], which parses it into a command.
//! 3. [`session`] checks limits, and [`auth`] checks access.
//! 4. [`hub`] hands the publication to the [`broker`].
//! 5. [`broker`] carries it to every node that has subscribers of the channel, this one included.
//! 6. [`hub`] encodes it once for each format and queues it for each local subscriber.
//! 7. [`outbound`] is the bounded queue to one socket.
//! 8. Flushers of [`outbound`] write all queued frames in one system call; what the socket does not take at once is
//!    written by [`transport`].
//!
//! The modules below are in layers, in reading order. Each imports only from layers below its own (`tests/architecture/`).
//! `docs/ARCHITECTURE.md` has a table of what each module owns and must not know.

#![forbid(unsafe_code)]
// Only a broken invariant panics, and the text of its `expect` states the invariant.
#![warn(clippy::unwrap_used, clippy::panic)]

pub mod cli;
pub mod gateway;

pub mod config;

pub mod internal;
pub mod transport;

pub mod fleet;
pub mod session;

pub mod hub;

pub mod events;
pub mod presence;
pub mod streams;

pub mod auth;
pub mod broker;
pub mod clock;
pub mod drain;
pub mod lag;
pub mod memory;

pub mod listener;
pub mod outbound;
pub mod tls;

pub mod critical_tasks;

pub mod telemetry;

pub mod dial;
pub mod http;
pub mod limits;
pub mod protocol;

pub mod apps;
pub mod backoff;
pub mod close;
pub mod framing;
pub mod live;
pub mod publication;
pub mod rules;
pub mod settings;
pub mod sharded;
pub mod topics;
