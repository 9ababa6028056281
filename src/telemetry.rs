//! Turns each event into its log line and metrics, one function per event. Callers report what happened;
//! names, labels and levels are decided here.

mod broker;
mod config;
mod connections;
mod dropped_event;
mod events;
mod fleet;
mod http2;
mod log;
mod metrics;
mod node;
mod panics;
mod publications;
mod refusals;
mod rejected;
mod requests;
mod settings;
mod short_request;
mod tokens;
mod trace;
mod unready;

pub use self::broker::*;
pub use self::config::Config;
pub use self::connections::*;
pub use self::dropped_event::DroppedEvent;
pub use self::events::*;
pub use self::fleet::*;
pub use self::http2::*;
pub use self::log::{
    FlushLog, flush_log, log_warnings, set_log_level, start_log, write_last_message,
};
pub use self::metrics::{Levels, exposition};
pub use self::node::*;
pub use self::panics::watch_panics;
pub use self::publications::*;
pub use self::rejected::Rejected;
pub use self::requests::short_request_answered;
pub use self::settings::*;
pub use self::short_request::ShortRequest;
pub use self::tokens::*;
pub use self::trace::{
    Exporting, Trace, Unexportable, handshake_answered, handshake_began, publication_refused,
    set_trace_ratio, start_tracing,
};
pub use self::unready::Unready;
