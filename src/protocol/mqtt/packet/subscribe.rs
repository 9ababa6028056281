//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 and 3.10).

use super::super::properties::{OF_SUBSCRIBE, OF_UNSUBSCRIBE, PacketProperties};
use super::super::qos::Qos;
use super::super::reader::{FieldReader, PacketText};
use super::super::reason::PacketFault;
use super::super::version::Version;

/// Most topic filters of one packet.
pub const FILTERS_MAX: usize = 1024;

const NO_FILTER: PacketFault = PacketFault::protocol("a packet names no topic filter");
const TOO_MANY: PacketFault = PacketFault::protocol("a packet names more than 1024 topic filters");

/// What a client wants to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribePacket {
    pub packet_id: u16,
    pub subscription_id: Option<u32>,
    /// 1 to [`FILTERS_MAX`].
    pub filters: Vec<(PacketText, FilterOptions)>,
}

/// How a client wants to get it (section 3.8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterOptions {
    pub qos: Qos,
    /// Not its own publications.
    pub no_local: bool,
    pub retain_as_published: bool,
    pub retain_handling: RetainHandling,
}

/// When a subscription begins with what is retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainHandling {
    Always,
    /// If the client has no such subscription.
    IfNew,
    Never,
}

/// What a client no longer wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubscribePacket {
    pub packet_id: u16,
    /// 1 to [`FILTERS_MAX`].
    pub filters: Vec<PacketText>,
}

impl SubscribePacket {
    pub fn read(mut fields: FieldReader, version: Version) -> Result<Self, PacketFault> {
        let packet_id = fields.packet_id()?;
        let properties = match version {
            Version::V3 => None,
            Version::V5 => PacketProperties::read(&mut fields, OF_SUBSCRIBE)?,
        };
        let mut filters = Vec::new();
        while !fields.is_empty() {
            if filters.len() == FILTERS_MAX {
                return Err(TOO_MANY);
            }
            filters.push((fields.text()?, FilterOptions::of_byte(fields.byte()?, version)?));
        }
        // MQTT-3.8.3-2.
        if filters.is_empty() {
            return Err(NO_FILTER);
        }
        let subscription_id = properties.and_then(|properties| properties.subscription_id);
        Ok(Self { packet_id, subscription_id, filters })
    }
}

impl FilterOptions {
    fn of_byte(byte: u8, version: Version) -> Result<Self, PacketFault> {
        let reserved = if version == Version::V3 { 0xfc } else { 0xc0 };
        if byte & reserved != 0 {
            // MQTT-3.8.3-5.
            return Err(PacketFault::malformed("reserved bits of a subscription are set"));
        }
        let retain_handling = match (byte >> 4) & 0b11 {
            0 => RetainHandling::Always,
            1 => RetainHandling::IfNew,
            2 => RetainHandling::Never,
            _ => return Err(PacketFault::protocol("retain handling is 3")),
        };
        Ok(Self {
            qos: Qos::of_bits(byte & 0b11)?,
            no_local: byte & 0x04 != 0,
            retain_as_published: byte & 0x08 != 0,
            retain_handling,
        })
    }
}

impl UnsubscribePacket {
    pub fn read(mut fields: FieldReader, version: Version) -> Result<Self, PacketFault> {
        let packet_id = fields.packet_id()?;
        if version == Version::V5 {
            PacketProperties::read(&mut fields, OF_UNSUBSCRIBE)?;
        }
        let mut filters = Vec::new();
        while !fields.is_empty() {
            if filters.len() == FILTERS_MAX {
                return Err(TOO_MANY);
            }
            filters.push(fields.text()?);
        }
        // MQTT-3.10.3-2.
        match filters.is_empty() {
            true => Err(NO_FILTER),
            false => Ok(Self { packet_id, filters }),
        }
    }
}
