//! A connection before its first request.

use tokio::time::Instant;

use super::addresses::Visit;
use super::admission::Place;
use super::client::Peer;

/// A connection that may go on to its requests.
pub struct Visitor {
    pub peer: Peer,
    pub place: Place,
    /// None: each request's own client is counted, or none is.
    pub visit: Option<Visit>,
    pub accepted: Instant,
    /// When its first request is to have arrived.
    pub deadline: Instant,
}
