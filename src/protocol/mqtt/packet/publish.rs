//! PUBLISH (section 3.3).

use bytes::Bytes;

use super::super::properties::{OF_PUBLISH, PacketProperties};
use super::super::qos::Qos;
use super::super::reader::{FieldReader, PacketText};
use super::super::reason::PacketFault;
use super::super::version::Version;

const DUP: u8 = 0x08;
const RETAIN: u8 = 0x01;

/// A publication of a client. The payload shares the packet's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishPacket {
    /// The client may have sent it before.
    pub is_duplicate: bool,
    pub qos: Qos,
    pub retain: bool,
    /// Empty: a topic alias stands for it.
    pub topic: PacketText,
    /// 0 with QoS 0.
    pub packet_id: u16,
    pub properties: Option<Box<PacketProperties>>,
    pub payload: Bytes,
}

impl PublishPacket {
    /// `flags`: of the fixed header.
    pub fn read(flags: u8, mut fields: FieldReader, version: Version) -> Result<Self, PacketFault> {
        let qos = Qos::of_bits((flags >> 1) & 0b11)?;
        let is_duplicate = flags & DUP != 0;
        if is_duplicate && qos == Qos::Zero {
            // MQTT-3.3.1-2.
            return Err(PacketFault::malformed("DUP is set with QoS 0"));
        }
        let topic = fields.text()?;
        let packet_id = match qos {
            Qos::Zero => 0,
            _ => fields.packet_id()?,
        };
        let properties = match version {
            Version::V3 => None,
            Version::V5 => PacketProperties::read(&mut fields, OF_PUBLISH)?,
        };
        let (retain, payload) = (flags & RETAIN != 0, fields.rest());
        Ok(Self { is_duplicate, qos, retain, topic, packet_id, properties, payload })
    }
}
