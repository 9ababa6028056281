//! The publications of a client that are not completely acknowledged.

use std::collections::HashMap;

use super::packet::Version;
use super::reason::{PacketFault, Reason};

/// Most publications of QoS 1 and 2 that a client of MQTT 5 may send before one is acknowledged: the receive maximum of
/// the node. As many as a session has in flight at the broker.
pub const RECEIVE_MAXIMUM: u16 = 64;

/// Most publications of QoS 2 of a client of MQTT 3.1.1, which is not told a bound.
const OF_V3_MAX: usize = 1024;

/// The publications of QoS 2 that the client has not released, by packet identifier.
#[derive(Debug, Default)]
pub struct InboundState(HashMap<u16, Step>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The broker has not answered.
    Publishing,
    /// PUBREC was sent.
    Received,
}

/// What a publication of QoS 2 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    New,
    /// It is being published, and will be acknowledged.
    Pending,
    /// It is published, and is to be acknowledged again.
    Again,
}

impl InboundState {
    /// Adds a publication of QoS 2.
    pub fn arrive(&mut self, packet_id: u16, version: Version) -> Result<Arrival, PacketFault> {
        match self.0.get(&packet_id) {
            Some(Step::Publishing) => return Ok(Arrival::Pending),
            Some(Step::Received) => return Ok(Arrival::Again),
            None => {}
        }
        let max = match version {
            Version::V3 => OF_V3_MAX,
            Version::V5 => usize::from(RECEIVE_MAXIMUM),
        };
        if self.0.len() >= max {
            return Err(PacketFault {
                reason: Reason::ReceiveMaximumExceeded,
                what: "too many publications of QoS 2 are not released",
            });
        }
        self.0.insert(packet_id, Step::Publishing);
        Ok(Arrival::New)
    }

    /// It is published.
    pub fn published(&mut self, packet_id: u16) {
        self.0.insert(packet_id, Step::Received);
    }

    /// It is released, or refused. Returns false if there is none of this identifier.
    pub fn complete(&mut self, packet_id: u16) -> bool {
        let is_known = self.0.remove(&packet_id).is_some();
        if self.0.is_empty() {
            // An idle session holds no memory for it.
            self.0 = HashMap::new();
        }
        is_known
    }
}
