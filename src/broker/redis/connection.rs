//! Connections to one server: where it is, the socket, RESP3 as it is read from a subscribed connection, and
//! connections for commands.

pub mod cause;
pub mod feed;
pub mod link;
pub mod pool;
pub mod reconnecting;
pub mod resp;
pub mod server;
pub mod socket;
