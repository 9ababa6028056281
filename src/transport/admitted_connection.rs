//! A connection before its first request.

use tokio::time::Instant;

use super::addresses::AddressSlot;
use super::admission::AdmissionSlot;
use super::client::Peer;

/// A connection that may go on to its requests.
pub struct AdmittedConnection {
    pub peer: Peer,
    pub place: AdmissionSlot,
    /// None: each request's own client is counted, or none is.
    pub visit: Option<AddressSlot>,
    pub accepted: Instant,
    /// When its first request is to have arrived.
    pub deadline: Instant,
}
