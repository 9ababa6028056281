//! Sockets: accepting them, answering HTTP, handing what becomes a WebSocket over to a session.
//! Knows nothing of what is said on them.

mod addresses;
mod admission;
mod asked;
mod client;
mod config;
mod converse;
mod cors;
mod credentials;
mod demo;
mod entrance;
mod heartbeat;
mod http;
mod networks;
mod origin;
pub mod proxy_header;
mod public;
mod refusal;
mod refused;
mod request;
mod response;
mod routes;
mod socket;
mod stream;
mod visitor;
mod websocket;
mod writer;

pub use self::admission::{OWN_FILES, RESERVED_FILES, open_file_limit, tell_of_places};
pub use self::config::Config;
pub use self::demo::{Demo, Publishing};
pub use self::origin::Origins;
pub use self::public::Public;
/// For the fuzz targets.
#[doc(hidden)]
pub use self::websocket::{Decoder, Incoming};
