//! Connections to one server: its address, the socket, the RESP3 parser of the subscribed
//! connection, and connections for commands.

pub mod cause;
pub mod feed;
pub mod link;
pub mod pool;
pub mod reconnecting;
pub mod resp;
pub mod server;
pub mod socket;
