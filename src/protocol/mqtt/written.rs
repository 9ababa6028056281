//! The packets that the node sends, and their frames.

use bytes::{BufMut, Bytes, BytesMut};

use super::packet::Version;
use super::properties::{REASON_STRING, USER_PROPERTY};
use super::reason::Reason;
use crate::framing::websocket;
use crate::publication::PayloadKind;

/// What carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Binary frames, one packet each.
    WebSocket,
    /// TCP or TLS: one packet behind the other.
    Stream,
}

/// Most bytes of a packet behind its fixed header (section 2.1.4).
const REMAINING_MAX: usize = 268_435_455;

pub const CONNACK: u8 = 0x20;
pub const PUBLISH: u8 = 0x30;
pub const PUBACK: u8 = 0x40;
pub const PUBREC: u8 = 0x50;
pub const PUBCOMP: u8 = 0x70;
pub const SUBACK: u8 = 0x90;
pub const UNSUBACK: u8 = 0xB0;
pub const PINGRESP: u8 = 0xD0;
pub const DISCONNECT: u8 = 0xE0;

/// A publication to be written.
#[derive(Clone, Copy, Debug)]
pub struct PublishHead<'a> {
    /// DUP, QoS and RETAIN.
    pub flags: u8,
    pub topic: &'a str,
    /// None: QoS 0.
    pub packet_id: Option<u16>,
    pub properties: &'a [u8],
}

/// A PUBLISH in its frame. Its topic is a channel's name, so shorter than a text may be.
pub fn publish(carrier: Carrier, version: Version, head: PublishHead<'_>, payload: &[u8]) -> Bytes {
    let PublishHead { flags, topic, packet_id, properties } = head;
    let properties_length = match version {
        Version::V3 => 0,
        Version::V5 => variable_length(properties.len()) + properties.len(),
    };
    let id_length = if packet_id.is_some() { 2 } else { 0 };
    let remaining = 2 + topic.len() + id_length + properties_length + payload.len();
    if remaining > REMAINING_MAX {
        // No packet can carry it.
        return packet(carrier, PINGRESP, &[]);
    }
    let length = 1 + variable_length(remaining) + remaining;
    let mut bytes = BytesMut::with_capacity(websocket::HEAD_BYTES_MAX + length);
    put_carrier_head(&mut bytes, carrier, length);
    bytes.put_u8(PUBLISH | flags);
    put_variable(&mut bytes, remaining);
    put_binary(&mut bytes, topic.as_bytes());
    if let Some(id) = packet_id {
        bytes.put_u16(id);
    }
    if version == Version::V5 {
        put_variable(&mut bytes, properties.len());
        bytes.put_slice(properties);
    }
    bytes.put_slice(payload);
    bytes.freeze()
}

/// A packet in its frame.
pub fn packet(carrier: Carrier, first: u8, body: &[u8]) -> Bytes {
    let length = 1 + variable_length(body.len()) + body.len();
    let mut bytes = BytesMut::with_capacity(websocket::HEAD_BYTES_MAX + length);
    put_carrier_head(&mut bytes, carrier, length);
    bytes.put_u8(first);
    put_variable(&mut bytes, body.len());
    bytes.put_slice(body);
    bytes.freeze()
}

/// A packet that acknowledges another. The reason string is left out of successes without one.
pub fn ack(
    carrier: Carrier,
    version: Version,
    first: u8,
    packet_id: u16,
    reason: Reason,
    why: Option<&str>,
) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u16(packet_id);
    if version == Version::V5 && (reason != Reason::Success || why.is_some()) {
        body.put_u8(reason.code());
        if let Some(why) = why {
            body.put_slice(&PropertyList::default().text(REASON_STRING, why).finish());
        }
    }
    packet(carrier, first, &body)
}

/// SUBACK or UNSUBACK.
pub fn codes_ack(
    carrier: Carrier,
    version: Version,
    first: u8,
    packet_id: u16,
    codes: &[u8],
) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u16(packet_id);
    if version == Version::V5 {
        body.put_u8(0);
    }
    if first == SUBACK || version == Version::V5 {
        body.put_slice(codes);
    }
    packet(carrier, first, &body)
}

/// Properties as bytes, behind their length.
#[derive(Debug, Default)]
pub struct PropertyList(BytesMut);

impl PropertyList {
    pub fn byte(mut self, kind: u8, value: u8) -> Self {
        self.0.put_slice(&[kind, value]);
        self
    }

    pub fn short(mut self, kind: u8, value: u16) -> Self {
        self.0.put_u8(kind);
        self.0.put_u16(value);
        self
    }

    pub fn word(mut self, kind: u8, value: u32) -> Self {
        self.0.put_u8(kind);
        self.0.put_u32(value);
        self
    }

    pub fn text(self, kind: u8, value: &str) -> Self {
        self.binary(kind, value.as_bytes())
    }

    pub fn binary(mut self, kind: u8, value: &[u8]) -> Self {
        self.0.put_u8(kind);
        put_binary(&mut self.0, value);
        self
    }

    pub fn pair(mut self, name: &str, value: &str) -> Self {
        self.0.put_u8(USER_PROPERTY);
        put_binary(&mut self.0, name.as_bytes());
        put_binary(&mut self.0, value.as_bytes());
        self
    }

    /// `value`: as a variable byte integer.
    pub fn variable(mut self, kind: u8, value: u32) -> Self {
        self.0.put_u8(kind);
        put_variable(&mut self.0, value as usize);
        self
    }

    /// Those that are written already.
    pub fn of(written: BytesMut) -> Self {
        Self(written)
    }

    /// Without the length.
    pub fn bare(self) -> BytesMut {
        self.0
    }

    pub fn finish(self) -> BytesMut {
        let mut bytes = BytesMut::with_capacity(4 + self.0.len());
        put_variable(&mut bytes, self.0.len());
        bytes.put_slice(&self.0);
        bytes
    }
}

/// A field with its length in two bytes. What does not fit is cut; the node writes nothing that long.
fn put_binary(bytes: &mut BytesMut, value: &[u8]) {
    let length = value.len().min(usize::from(u16::MAX));
    bytes.put_u16(length as u16);
    bytes.put_slice(&value[..length]);
}

fn put_carrier_head(bytes: &mut BytesMut, carrier: Carrier, length: usize) {
    if carrier == Carrier::WebSocket {
        websocket::put_head(bytes, PayloadKind::Binary, length);
    }
}

fn variable_length(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

fn put_variable(bytes: &mut BytesMut, mut value: usize) {
    loop {
        let digit = (value & 0x7f) as u8;
        value >>= 7;
        bytes.put_u8(if value > 0 { digit | 0x80 } else { digit });
        if value == 0 {
            return;
        }
    }
}
