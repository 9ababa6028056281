//! Publications as packets that all subscribers of QoS 0 share.

use bytes::{Bytes, BytesMut};

use super::carried;
use super::version::Version;
use super::written::{Carrier, PropertyList, PublishHead, publish};
use crate::close::Close;
use crate::protocol::close_code::close_frame;
use crate::protocol::{Encode, Push};
use crate::publication::{EndReason, Publication};

/// The name of the user property with which a client of MQTT 5 is told why a run has ended.
const ENDED: &str = "tidegate-ended";

/// The properties of the empty message that tells the end of a run.
pub fn ended_properties(reason: &EndReason) -> BytesMut {
    PropertyList::default().pair(ENDED, reason.as_str()).bare()
}

/// Packets of MQTT 5 or 3.1.1, in binary frames of a WebSocket or one behind the other.
pub struct MqttFrames<const V5: bool, const WEBSOCKET: bool>;

impl<const V5: bool, const WEBSOCKET: bool> MqttFrames<V5, WEBSOCKET> {
    const VERSION: Version = if V5 { Version::V5 } else { Version::V3 };
    const CARRIER: Carrier = if WEBSOCKET { Carrier::WebSocket } else { Carrier::Stream };

    fn publish(topic: &str, properties: &[u8], payload: &[u8]) -> Bytes {
        let head = PublishHead { flags: 0, topic, packet_id: None, properties };
        publish(Self::CARRIER, Self::VERSION, head, payload)
    }
}

impl<const V5: bool, const WEBSOCKET: bool> Encode for MqttFrames<V5, WEBSOCKET> {
    fn publication(channel: &str, publication: &Publication) -> Bytes {
        let properties = match publication.properties.as_deref().filter(|_| V5) {
            None => BytesMut::new(),
            Some(it) => {
                let expires_at = it.expires_at(publication.sent_at);
                carried::with_expiry(carried::written(it), expires_at).bare()
            }
        };
        Self::publish(channel, &properties, &publication.payload)
    }

    fn push(push: &Push<'_>) -> Option<Bytes> {
        match push {
            // The protocol has no other message for it.
            Push::Ended { channel, reason, .. } => {
                Some(Self::publish(channel, &ended_properties(reason), &[]))
            }
            Push::Welcome { .. }
            | Push::Gap { .. }
            | Push::PatternGap { .. }
            | Push::Presence { .. }
            | Push::Reconnect { .. } => None,
        }
    }

    fn close_at_end() -> Option<Close> {
        None
    }

    fn heartbeat() -> Option<Bytes> {
        None
    }

    fn close(close: Close) -> Option<Bytes> {
        WEBSOCKET.then(|| close_frame(close))
    }

    fn breaks_off(_: Close) -> bool {
        false
    }
}
