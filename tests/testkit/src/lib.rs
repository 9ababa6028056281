//! Code that the test suites in `tests/` share. It uses a node as a client does: as a process that
//! answers on its listeners.
//!
//! | modules | contents |
//! | --- | --- |
//! | `node` `process` `redis` `sentinel` `cluster` `fleet` | processes that a test starts; they end with the test |
//! | `network` `proxy` `clock` | fault injection: networks, connections and clocks that a test can break |
//! | `client` `event_stream` `ai_stream` `requester` `raw` `http` `http2` `raw_http2` `tls_client` `authority` `token` | clients of a node, within and outside the protocols |
//! | `backend_event` | events for the backend, and the check that they alternate |
//! | `collector` | the OpenTelemetry collector that nodes export spans to |
//! | `waiting` `wait_until` `open_files` | waiting for a condition; the open-file limit for thousands of clients |
//! | `publisher` `service` `server_message` `backoff` | publishers and subscribers that keep running during faults |
//! | `log` `record` `checker` | the log of each publisher and subscriber, and the check of the delivery guarantees |
//! | `audit` | the same check for every client operation, from `audit::journal` |
//! | `finding` | violations that checker and audit report |
//! | `curve` `downtime` | event rates over time, and how long clients were disconnected |

pub mod ai_stream;
pub mod audit;
pub mod authority;
pub mod backend_event;
pub mod backoff;
pub mod checker;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod collector;
pub mod curve;
pub mod downtime;
pub mod event_stream;
pub mod finding;
pub mod fleet;
pub mod http;
pub mod http2;
pub mod log;
pub mod network;
pub mod node;
pub mod open_files;
pub mod process;
pub mod proxy;
pub mod publisher;
pub mod raw;
pub mod raw_http2;
pub mod recorder;
pub mod redis;
pub mod requester;
pub mod sentinel;
pub mod server_message;
pub mod service;
pub mod tls_client;
pub mod token;
mod wait_until;
mod waiting;

pub use wait_until::wait_until;
pub use waiting::{eventually, soon};

/// The reason of the `gap` that subscribers receive after the node lost its connection to Redis.
pub const GAP_REASON: &str = "broker_reconnected";
