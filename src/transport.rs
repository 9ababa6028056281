//! Sockets: accepts connections, answers HTTP, and hands WebSocket and response streams over to sessions.
//! Knows nothing about the content of messages.

mod accept;
mod addresses;
mod admission;
mod admitted_connection;
mod admitted_request;
mod client;
mod config;
mod connection_refusal;
mod cors;
mod credentials;
mod demo;
mod direct;
mod heartbeat;
mod http;
mod http1;
mod http2;
mod http_stream;
mod networks;
mod origin;
mod packet_connection;
mod poll;
pub mod proxy_header;
mod public;
mod request;
mod request_body;
mod request_deadline;
mod request_framing;
mod request_outcome;
mod request_refused;
mod response;
mod response_stream;
mod routed_request;
mod routes;
mod run_session;
mod scratch;
mod service_request;
mod session_start;
mod short_request;
mod socket;
mod started_session;
mod stream;
mod stream_answer;
mod stream_live;
mod streams;
mod update_answer;
mod updates;
mod websocket;
mod writer;

pub use self::admission::{OWN_FILES, RESERVED_FILES, open_file_limit, warn_of_file_limit};
pub use self::config::Config;
pub use self::demo::{Demo, Publishing};
pub use self::direct::DirectConfig;
pub use self::origin::Origins;
pub use self::public::Public;
/// For the fuzz targets.
#[doc(hidden)]
pub use self::websocket::{Decoder, Incoming};
