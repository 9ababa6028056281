//! The properties of MQTT 5 (section 2.2.2.2) that clients send.

use bytes::Bytes;

use super::reader::{FieldReader, PacketText};
use super::reason::PacketFault;

/// Most user properties of a packet. More are a violation, because each takes memory.
pub const USER_PROPERTIES_MAX: usize = 64;

pub const PAYLOAD_FORMAT: u8 = 0x01;
pub const MESSAGE_EXPIRY: u8 = 0x02;
pub const CONTENT_TYPE: u8 = 0x03;
pub const RESPONSE_TOPIC: u8 = 0x08;
pub const CORRELATION_DATA: u8 = 0x09;
pub const SUBSCRIPTION_ID: u8 = 0x0B;
pub const SESSION_EXPIRY: u8 = 0x11;
pub const ASSIGNED_CLIENT_ID: u8 = 0x12;
pub const AUTHENTICATION_METHOD: u8 = 0x15;
pub const AUTHENTICATION_DATA: u8 = 0x16;
pub const REQUEST_PROBLEM: u8 = 0x17;
pub const WILL_DELAY: u8 = 0x18;
pub const REQUEST_RESPONSE: u8 = 0x19;
pub const REASON_STRING: u8 = 0x1F;
pub const RECEIVE_MAXIMUM: u8 = 0x21;
pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub const TOPIC_ALIAS: u8 = 0x23;
pub const USER_PROPERTY: u8 = 0x26;
pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
pub const SHARED_AVAILABLE: u8 = 0x2A;

/// What each kind of packet may have.
pub const OF_CONNECT: &[u8] = &[
    SESSION_EXPIRY,
    RECEIVE_MAXIMUM,
    MAXIMUM_PACKET_SIZE,
    TOPIC_ALIAS_MAXIMUM,
    REQUEST_RESPONSE,
    REQUEST_PROBLEM,
    USER_PROPERTY,
    AUTHENTICATION_METHOD,
    AUTHENTICATION_DATA,
];
pub const OF_WILL: &[u8] = &[
    WILL_DELAY,
    PAYLOAD_FORMAT,
    MESSAGE_EXPIRY,
    CONTENT_TYPE,
    RESPONSE_TOPIC,
    CORRELATION_DATA,
    USER_PROPERTY,
];
pub const OF_PUBLISH: &[u8] = &[
    PAYLOAD_FORMAT,
    MESSAGE_EXPIRY,
    TOPIC_ALIAS,
    RESPONSE_TOPIC,
    CORRELATION_DATA,
    USER_PROPERTY,
    CONTENT_TYPE,
];
pub const OF_ACK: &[u8] = &[REASON_STRING, USER_PROPERTY];
pub const OF_SUBSCRIBE: &[u8] = &[SUBSCRIPTION_ID, USER_PROPERTY];
pub const OF_UNSUBSCRIBE: &[u8] = &[USER_PROPERTY];
pub const OF_DISCONNECT: &[u8] = &[SESSION_EXPIRY, REASON_STRING, USER_PROPERTY];

/// The properties of a packet. Those that say nothing to the node are checked and dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketProperties {
    pub is_utf8: Option<bool>,
    pub message_expiry: Option<u32>,
    pub content_type: Option<PacketText>,
    pub response_topic: Option<PacketText>,
    pub correlation_data: Option<Bytes>,
    pub subscription_id: Option<u32>,
    pub session_expiry: Option<u32>,
    pub authentication_method: Option<PacketText>,
    pub authentication_data: Option<Bytes>,
    pub wants_reasons: Option<bool>,
    pub will_delay: Option<u32>,
    pub wants_response_topic: Option<bool>,
    pub receive_maximum: Option<u16>,
    pub topic_alias_maximum: Option<u16>,
    pub topic_alias: Option<u16>,
    pub maximum_packet_size: Option<u32>,
    pub reason_string: Option<PacketText>,
    /// In their order.
    pub user: Vec<(PacketText, PacketText)>,
}

impl PacketProperties {
    /// Reads the properties at the front of `fields`. `allowed`: those of the packet's kind. None: it has none, which
    /// takes no memory.
    pub fn read(
        fields: &mut FieldReader,
        allowed: &[u8],
    ) -> Result<Option<Box<Self>>, PacketFault> {
        let mut part = fields.part()?;
        if part.is_empty() {
            return Ok(None);
        }
        let mut properties = Box::<Self>::default();
        while !part.is_empty() {
            let kind = part.byte()?;
            if !allowed.contains(&kind) {
                return Err(PacketFault::malformed(
                    "a packet has a property that is not of its kind",
                ));
            }
            properties.read_one(kind, &mut part)?;
        }
        match properties.authentication_data.is_some() && properties.authentication_method.is_none()
        {
            true => Err(PacketFault::protocol("authentication data needs a method")),
            false => Ok(Some(properties)),
        }
    }

    fn read_one(&mut self, kind: u8, part: &mut FieldReader) -> Result<(), PacketFault> {
        match kind {
            PAYLOAD_FORMAT => once(&mut self.is_utf8, flag(part.byte()?)?),
            MESSAGE_EXPIRY => once(&mut self.message_expiry, part.word()?),
            CONTENT_TYPE => once(&mut self.content_type, part.text()?),
            RESPONSE_TOPIC => once(&mut self.response_topic, part.text()?),
            CORRELATION_DATA => once(&mut self.correlation_data, part.binary()?),
            SUBSCRIPTION_ID => once(&mut self.subscription_id, positive(part.variable()?)?),
            SESSION_EXPIRY => once(&mut self.session_expiry, part.word()?),
            AUTHENTICATION_METHOD => once(&mut self.authentication_method, part.text()?),
            AUTHENTICATION_DATA => once(&mut self.authentication_data, part.binary()?),
            REQUEST_PROBLEM => once(&mut self.wants_reasons, flag(part.byte()?)?),
            WILL_DELAY => once(&mut self.will_delay, part.word()?),
            REQUEST_RESPONSE => once(&mut self.wants_response_topic, flag(part.byte()?)?),
            REASON_STRING => once(&mut self.reason_string, part.text()?),
            RECEIVE_MAXIMUM => once(&mut self.receive_maximum, positive(part.short()?)?),
            TOPIC_ALIAS_MAXIMUM => once(&mut self.topic_alias_maximum, part.short()?),
            TOPIC_ALIAS => once(&mut self.topic_alias, part.short()?),
            MAXIMUM_PACKET_SIZE => once(&mut self.maximum_packet_size, positive(part.word()?)?),
            USER_PROPERTY if self.user.len() < USER_PROPERTIES_MAX => {
                self.user.push((part.text()?, part.text()?));
                Ok(())
            }
            USER_PROPERTY => {
                Err(PacketFault::protocol("a packet has more than 64 user properties"))
            }
            _ => Err(PacketFault::malformed("a property has an unknown identifier")),
        }
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), PacketFault> {
    match place.replace(value) {
        Some(_) => Err(PacketFault::protocol("a property is there twice")),
        None => Ok(()),
    }
}

fn flag(byte: u8) -> Result<bool, PacketFault> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(PacketFault::protocol("a property that is 0 or 1 has another value")),
    }
}

fn positive<T: Default + PartialEq>(number: T) -> Result<T, PacketFault> {
    match number == T::default() {
        true => Err(PacketFault::protocol("a property that must not be 0 is 0")),
        false => Ok(number),
    }
}
