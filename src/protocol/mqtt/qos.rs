//! The quality of service of a publication.

use super::reason::PacketFault;

/// How surely a publication arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// At most once.
    Zero,
    /// At least once.
    One,
    /// Exactly once.
    Two,
}

impl Qos {
    /// Of its two bits.
    pub fn of_bits(bits: u8) -> Result<Self, PacketFault> {
        match bits {
            0 => Ok(Self::Zero),
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            // MQTT-3.3.1-4.
            _ => Err(PacketFault::malformed("a QoS is 3")),
        }
    }
}
