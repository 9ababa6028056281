//! What the suites of `tests/` share. It knows a node as they do: as a process, by what it answers.
//!
//! | module | holds |
//! | --- | --- |
//! | `node` `process` `redis` `sentinel` `cluster` `fleet` | what is started, and ends with its test |
//! | `network` `proxy` `clock` | what stands between them, and can fail |
//! | `client` `event_stream` `raw` `http` `trusting` `authority` `token` | who speaks to a node: by the rules, or against them |
//! | `collector` | where a node exports its spans |
//! | `patience` `until` `open_files` | waiting for a condition; room for thousands of clients |
//! | `publisher` `service` `push` `backoff` | who publishes and listens while things break |
//! | `log` `record` `checker` | what they write down, and what it proves |
//! | `audit` | the same for every operation of clients; `audit::journal` is what they write down |
//! | `finding` | what checker and audit find |
//! | `curve` `away` | how often something happened, and how long clients were away |

pub mod audit;
pub mod authority;
pub mod away;
pub mod backoff;
pub mod checker;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod collector;
pub mod curve;
pub mod event_stream;
pub mod finding;
pub mod fleet;
pub mod http;
pub mod log;
pub mod network;
pub mod node;
pub mod open_files;
mod patience;
pub mod process;
pub mod proxy;
pub mod publisher;
pub mod push;
pub mod raw;
pub mod record;
pub mod redis;
pub mod sentinel;
pub mod service;
pub mod token;
pub mod trusting;
mod until;

pub use patience::{eventually, soon};
pub use until::until;

/// What subscribers are told of an interruption.
pub const GAP_REASON: &str = "broker_reconnected";
