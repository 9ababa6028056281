//! What packets say of publications besides payloads, as publications carry it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;

use super::properties::{
    CONTENT_TYPE, CORRELATION_DATA, MESSAGE_EXPIRY, PAYLOAD_FORMAT, PacketProperties,
    RESPONSE_TOPIC,
};
use super::qos::Qos;
use super::reader::PacketText;
use super::written::PropertyList;
use crate::publication::MessageProperties;

/// What the publication of such a packet carries. None: nothing.
pub fn of_packet(
    properties: Option<&PacketProperties>,
    qos: Qos,
    retain: bool,
) -> Option<MessageProperties> {
    let text = |text: &Option<PacketText>| text.as_ref().map(|text| text.as_str().to_owned());
    // Subscribers get QoS 1 at most, which is that of publications of other protocols too.
    let qos = (qos == Qos::Zero).then_some(0);
    let mut carried = MessageProperties { qos, retain, ..MessageProperties::default() };
    if let Some(said) = properties {
        carried.utf8 = said.is_utf8;
        carried.expiry = said.message_expiry;
        carried.content_type = text(&said.content_type);
        carried.response_topic = text(&said.response_topic);
        carried.correlation = said.correlation_data.as_ref().map(|data| STANDARD.encode(data));
        let user = said.user.iter();
        carried.user = user.map(|(a, b)| (a.as_str().to_owned(), b.as_str().to_owned())).collect();
    }
    (carried != MessageProperties::default()).then_some(carried)
}

/// The properties of a PUBLISH of MQTT 5, without the message expiry.
pub fn written(carried: &MessageProperties) -> PropertyList {
    let mut list = PropertyList::default();
    if let Some(is_utf8) = carried.utf8 {
        list = list.byte(PAYLOAD_FORMAT, u8::from(is_utf8));
    }
    if let Some(text) = &carried.content_type {
        list = list.text(CONTENT_TYPE, text);
    }
    if let Some(text) = &carried.response_topic {
        list = list.text(RESPONSE_TOPIC, text);
    }
    if let Some(Ok(data)) = carried.correlation.as_ref().map(|data| STANDARD.decode(data)) {
        list = list.binary(CORRELATION_DATA, &data);
    }
    carried.user.iter().fold(list, |list, (name, value)| list.pair(name, value))
}

/// Adds the message expiry, as what is left of it (MQTT-3.3.2-6).
pub fn with_expiry(list: PropertyList, expires_at: Option<Duration>) -> PropertyList {
    match expires_at.map(|at| at.saturating_sub(now())) {
        Some(left) => list.word(MESSAGE_EXPIRY, rounded_up(left)),
        None => list,
    }
}

fn rounded_up(left: Duration) -> u32 {
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// Whether it is over (MQTT-3.3.2-5).
pub fn is_expired(expires_at: Option<Duration>) -> bool {
    expires_at.is_some_and(|at| at <= now())
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The properties that are written already, to which others are added.
pub fn continued(written: &[u8]) -> PropertyList {
    PropertyList::of(BytesMut::from(written))
}
