//! CONNECT (section 3.1).

use bytes::Bytes;

use super::super::properties::{OF_CONNECT, OF_WILL, PacketProperties};
use super::super::qos::Qos;
use super::super::reader::{FieldReader, PacketText};
use super::super::reason::{PacketFault, Reason};
use super::super::version::Version;

/// The first packet of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectPacket {
    pub version: Version,
    /// Whether the client wants no session of before.
    pub is_clean: bool,
    /// Seconds. 0: none.
    pub keep_alive: u16,
    pub properties: Option<Box<PacketProperties>>,
    /// Empty: the node gives one.
    pub client_id: PacketText,
    pub will: Option<Box<WillPacket>>,
    pub user: Option<PacketText>,
    pub password: Option<Bytes>,
}

/// What is to be published when the client is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WillPacket {
    pub topic: PacketText,
    pub payload: Bytes,
    pub qos: Qos,
    pub retain: bool,
    pub properties: Option<Box<PacketProperties>>,
}

const RESERVED: u8 = 0x01;
const CLEAN: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USER: u8 = 0x80;

impl ConnectPacket {
    pub fn read(mut fields: FieldReader) -> Result<Self, PacketFault> {
        if &fields.binary()?[..] != b"MQTT" {
            // MQTT-3.1.2-1.
            return Err(PacketFault {
                reason: Reason::UnsupportedVersion,
                what: "the protocol name of a CONNECT is MQTT",
            });
        }
        let version = version(fields.byte()?)?;
        let flags = checked_flags(fields.byte()?, version)?;
        let keep_alive = fields.short()?;
        let properties = properties(&mut fields, version, OF_CONNECT)?;
        let client_id = fields.text()?;
        let will = match flags & WILL {
            0 => None,
            _ => Some(Box::new(will(&mut fields, flags, version)?)),
        };
        let user = (flags & USER != 0).then(|| fields.text()).transpose()?;
        let password = (flags & PASSWORD != 0).then(|| fields.binary()).transpose()?;
        fields.end()?;
        let is_clean = flags & CLEAN != 0;
        Ok(Self { version, is_clean, keep_alive, properties, client_id, will, user, password })
    }
}

fn version(level: u8) -> Result<Version, PacketFault> {
    match level {
        4 => Ok(Version::V3),
        5 => Ok(Version::V5),
        // MQTT-3.1.2-2.
        _ => Err(PacketFault {
            reason: Reason::UnsupportedVersion,
            what: "the node speaks MQTT 3.1.1 and 5 (levels 4 and 5)",
        }),
    }
}

fn checked_flags(flags: u8, version: Version) -> Result<u8, PacketFault> {
    let malformed = |what| Err(PacketFault::malformed(what));
    if flags & RESERVED != 0 {
        return malformed("the reserved flag of a CONNECT is set");
    }
    if flags & WILL == 0 && flags & (WILL_RETAIN | 0x18) != 0 {
        return malformed("a CONNECT without a will has flags of one");
    }
    // MQTT 3.1.1: MQTT-3.1.2-22. MQTT 5 allows a password alone.
    if version == Version::V3 && flags & (USER | PASSWORD) == PASSWORD {
        return malformed("a CONNECT of MQTT 3.1.1 has a password without a user name");
    }
    Ok(flags)
}

fn will(fields: &mut FieldReader, flags: u8, version: Version) -> Result<WillPacket, PacketFault> {
    let qos = Qos::of_bits((flags >> 3) & 0b11)?;
    let retain = flags & WILL_RETAIN != 0;
    let properties = properties(fields, version, OF_WILL)?;
    Ok(WillPacket { topic: fields.text()?, payload: fields.binary()?, qos, retain, properties })
}

fn properties(
    fields: &mut FieldReader,
    version: Version,
    allowed: &[u8],
) -> Result<Option<Box<PacketProperties>>, PacketFault> {
    match version {
        Version::V3 => Ok(None),
        Version::V5 => PacketProperties::read(fields, allowed),
    }
}
