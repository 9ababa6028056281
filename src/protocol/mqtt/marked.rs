//! Publications that each session completes: with a packet identifier, RETAIN, or what MQTT 5 adds for a subscription.
//!
//! All such sessions share the bytes, which begin with a mark that no frame and no packet begins with.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::carried;
use super::frames::ended_properties;
use crate::close::Close;
use crate::protocol::{Encode, Push};
use crate::publication::{Position, Publication};

/// The first byte. Packets begin with 0x10 and above, frames with 0x81 and above.
const MARK: u8 = 0x01;

/// A frame in whose place in the queue a session writes what waited for an acknowledgement.
pub const RELEASE: &[u8] = &[0x02];

const HAS_POSITION: u8 = 0x01;
const RETAIN: u8 = 0x02;
const QOS_0: u8 = 0x04;

/// What a marked frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedPublication {
    pub topic: Bytes,
    /// None: it is in no history.
    pub position: Option<Position>,
    /// Whether its publisher asked to retain it.
    pub retain: bool,
    /// Whether it was published with QoS 0.
    pub is_qos_0: bool,
    /// Since 1970.
    pub expires_at: Option<Duration>,
    /// The properties of MQTT 5 that are the same for all.
    pub properties: Bytes,
    pub payload: Bytes,
}

impl MarkedPublication {
    /// None: the frame is not marked.
    pub fn read(frame: &Bytes) -> Option<Self> {
        if frame.first() != Some(&MARK) {
            return None;
        }
        let mut rest = frame.slice(1..);
        let flags = rest.try_get_u8().ok()?;
        let position = Position { epoch: rest.try_get_u64().ok()?, seq: rest.try_get_u64().ok()? };
        let expires_at = rest.try_get_u64().ok()?;
        let topic_length = usize::from(rest.try_get_u8().ok()?);
        let properties_length = usize::from(rest.try_get_u16().ok()?);
        if rest.len() < topic_length + properties_length {
            return None;
        }
        let topic = rest.split_to(topic_length);
        let properties = rest.split_to(properties_length);
        Some(Self {
            topic,
            position: (flags & HAS_POSITION != 0).then_some(position),
            retain: flags & RETAIN != 0,
            is_qos_0: flags & QOS_0 != 0,
            expires_at: (expires_at > 0).then(|| Duration::from_millis(expires_at)),
            properties,
            payload: rest,
        })
    }

    fn write(&self) -> Bytes {
        let Self { topic, position, properties, payload, .. } = self;
        let mut bytes =
            BytesMut::with_capacity(32 + topic.len() + properties.len() + payload.len());
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        bytes.put_u8(MARK);
        bytes.put_u8(
            flag(position.is_some(), HAS_POSITION)
                | flag(self.retain, RETAIN)
                | flag(self.is_qos_0, QOS_0),
        );
        let Position { epoch, seq } = position.unwrap_or(Position::MIN);
        bytes.put_u64(epoch);
        bytes.put_u64(seq);
        bytes.put_u64(self.expires_at.map_or(0, |at| at.as_millis() as u64));
        // A channel's name has at most 255 bytes, and properties are bounded by the header line.
        bytes.put_u8(topic.len().min(255) as u8);
        bytes.put_u16(properties.len().min(usize::from(u16::MAX)) as u16);
        bytes.put_slice(topic);
        bytes.put_slice(properties);
        bytes.put_slice(payload);
        bytes.freeze()
    }
}

/// Publications with a mark.
pub struct MqttMarkedFrames;

impl Encode for MqttMarkedFrames {
    fn publication(channel: &str, publication: &Publication) -> Bytes {
        let carried = publication.properties.as_deref();
        MarkedPublication {
            topic: Bytes::copy_from_slice(channel.as_bytes()),
            position: publication.position,
            retain: carried.is_some_and(|carried| carried.retain),
            is_qos_0: carried.is_some_and(|carried| carried.qos == Some(0)),
            expires_at: carried.and_then(|carried| carried.expires_at(publication.sent_at)),
            properties: carried.map(|it| carried::written(it).bare()).unwrap_or_default().freeze(),
            payload: publication.payload.clone(),
        }
        .write()
    }

    fn push(push: &Push<'_>) -> Option<Bytes> {
        let Push::Ended { channel, reason, .. } = push else { return None };
        let ended = MarkedPublication {
            topic: Bytes::copy_from_slice(channel.as_bytes()),
            position: None,
            retain: false,
            is_qos_0: true,
            expires_at: None,
            properties: ended_properties(reason).freeze(),
            payload: Bytes::new(),
        };
        Some(ended.write())
    }

    fn close_at_end() -> Option<Close> {
        None
    }

    fn heartbeat() -> Option<Bytes> {
        None
    }

    fn close(_: Close) -> Option<Bytes> {
        None
    }

    fn breaks_off(_: Close) -> bool {
        false
    }
}
