//! A connection before its first request.

use tokio::time::Instant;

use super::addresses::AddressSlot;
use super::admission::AdmissionSlot;
use super::client::Peer;

/// A connection that has passed all limits and may send requests.
pub struct AdmittedConnection {
    pub peer: Peer,
    pub slot: AdmissionSlot,
    /// None: the client of each request is counted, or clients are not counted.
    pub address_slot: Option<AddressSlot>,
    pub accepted: Instant,
    /// When its first request must have arrived.
    pub deadline: Instant,
}
