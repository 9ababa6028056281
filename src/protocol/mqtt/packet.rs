//! The packets that clients send, read from their bytes.

mod connect;
mod publish;
mod subscribe;

use bytes::Bytes;

pub use self::connect::{ConnectPacket, WillPacket};
pub use self::publish::PublishPacket;
pub use self::subscribe::{FilterOptions, RetainHandling, SubscribePacket, UnsubscribePacket};
use super::properties::{OF_ACK, OF_DISCONNECT, PacketProperties};
pub use super::qos::Qos;
use super::reader::{FieldReader, packet_length};
use super::reason::{PacketFault, Reason};
pub use super::version::Version;

/// A packet of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientPacket {
    Connect(Box<ConnectPacket>),
    Publish(PublishPacket),
    Ack(AckKind, AckPacket),
    Subscribe(SubscribePacket),
    Unsubscribe(UnsubscribePacket),
    Ping,
    Disconnect { reason: u8, session_expiry: Option<u32> },
}

/// The packets that acknowledge others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckKind {
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
}

/// A packet that acknowledges another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckPacket {
    pub packet_id: u16,
    /// 0x80 and above: the client refuses the publication.
    pub reason: u8,
}

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;
const AUTH: u8 = 15;

impl ClientPacket {
    /// Reads exactly one packet, fixed header included.
    pub fn read(bytes: Bytes, version: Version) -> Result<Self, PacketFault> {
        let whole = packet_length(&bytes, bytes.len())?;
        if whole != Some(bytes.len()) {
            return Err(PacketFault::malformed("the bytes are not exactly one packet"));
        }
        let mut fields = FieldReader::new(bytes);
        let first = fields.byte()?;
        fields.variable()?;
        let (kind, flags) = (first >> 4, first & 0x0f);
        let wanted = match kind {
            PUBLISH => flags,
            PUBREL | SUBSCRIBE | UNSUBSCRIBE => 0b0010,
            _ => 0,
        };
        if flags != wanted {
            // MQTT-2.1.3-1.
            return Err(PacketFault::malformed("the flags of a packet are not those of its kind"));
        }
        match kind {
            CONNECT => ConnectPacket::read(fields).map(Box::new).map(Self::Connect),
            PUBLISH => PublishPacket::read(flags, fields, version).map(Self::Publish),
            PUBACK => ack(AckKind::Puback, fields, version),
            PUBREC => ack(AckKind::Pubrec, fields, version),
            PUBREL => ack(AckKind::Pubrel, fields, version),
            PUBCOMP => ack(AckKind::Pubcomp, fields, version),
            SUBSCRIBE => SubscribePacket::read(fields, version).map(Self::Subscribe),
            UNSUBSCRIBE => UnsubscribePacket::read(fields, version).map(Self::Unsubscribe),
            PINGREQ => fields.end().map(|()| Self::Ping),
            DISCONNECT => disconnect(fields, version),
            AUTH => Err(PacketFault::protocol("the connection has no authentication method")),
            _ => Err(PacketFault::protocol("clients send no such packet")),
        }
    }

    /// Whether the bytes begin with the first byte of a CONNECT.
    pub fn is_connect(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|first| first >> 4 == CONNECT)
    }
}

fn ack(
    kind: AckKind,
    mut fields: FieldReader,
    version: Version,
) -> Result<ClientPacket, PacketFault> {
    let packet_id = fields.packet_id()?;
    let reason = reason_and_properties(&mut fields, version, OF_ACK)?.0;
    Ok(ClientPacket::Ack(kind, AckPacket { packet_id, reason }))
}

fn disconnect(mut fields: FieldReader, version: Version) -> Result<ClientPacket, PacketFault> {
    let (reason, properties) = reason_and_properties(&mut fields, version, OF_DISCONNECT)?;
    let session_expiry = properties.and_then(|properties| properties.session_expiry);
    Ok(ClientPacket::Disconnect { reason, session_expiry })
}

/// The reason code and the properties at the end of a packet, both of which may be left out.
fn reason_and_properties(
    fields: &mut FieldReader,
    version: Version,
    allowed: &[u8],
) -> Result<(u8, Option<Box<PacketProperties>>), PacketFault> {
    if version == Version::V3 || fields.is_empty() {
        fields.end()?;
        return Ok((Reason::Success.code(), None));
    }
    let reason = fields.byte()?;
    let properties = match fields.is_empty() {
        true => None,
        false => PacketProperties::read(fields, allowed)?,
    };
    fields.end()?;
    Ok((reason, properties))
}
