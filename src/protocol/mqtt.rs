//! MQTT 3.1.1 and 5: a topic is the channel of the same name, a message's payload is the publication's payload.
//!
//! Clients of QoS 0 share the bytes of a publication. A password is a token; the user name is not read.

mod aliases;
mod carried;
mod command;
mod command_id;
mod frames;
mod inbound;
mod marked;
mod outbound;
mod packet;
mod packets;
mod properties;
mod qos;
mod reader;
mod reason;
mod refusing;
mod session;
mod subscribing;
mod topic;
mod version;
mod written;

use std::sync::Arc;

use bytes::Bytes;

use self::aliases::TOPIC_ALIAS_MAXIMUM;
use self::command_id::CommandId;
pub use self::frames::MqttFrames;
use self::inbound::RECEIVE_MAXIMUM;
pub use self::marked::MqttMarkedFrames;
use self::outbound::MqttSubscription;
pub use self::packet::{ClientPacket, Version};
use self::packets::MqttPackets;
use self::properties::{
    ASSIGNED_CLIENT_ID, MAXIMUM_PACKET_SIZE, REASON_STRING, RECEIVE_MAXIMUM as RECEIVE_PROPERTY,
    SESSION_EXPIRY, SHARED_AVAILABLE, TOPIC_ALIAS_MAXIMUM as ALIASES_PROPERTY,
};
use self::qos::Qos;
pub use self::reader::packet_length;
pub use self::reason::{PacketFault, Reason};
use self::session::{MqttPhase, MqttSession};
use self::subscribing::FilterAck;
pub use self::written::Carrier;
use self::written::{
    CONNACK, DISCONNECT, PINGRESP, PUBACK, PUBCOMP, PUBREC, PropertyList, SUBACK, ack, codes_ack,
    packet,
};
use super::close_code::close_frame;
use super::{
    Decoded, Format, Id, Message, Packets, Reply, ReplyError, SessionControl, Speak, Stamp, Will,
};
use crate::close::Close;
use crate::publication::{Channel, Position, ReplayStart, SessionId};

/// The protocol's name in `Sec-WebSocket-Protocol` (MQTT-6.0.0-3).
pub const SUBPROTOCOL: &str = "mqtt";

/// What a client is told that asks to retain a publication where nothing is kept.
const NOT_RETAINED: &str = "published, but not retained: the channel keeps no history";

/// A session of an MQTT client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mqtt(Arc<MqttSession>);

impl Mqtt {
    /// `packet_bytes_max`: most bytes of a packet of the client.
    pub fn new(carrier: Carrier, packet_bytes_max: usize) -> Self {
        Self(Arc::new(MqttSession::new(carrier, packet_bytes_max)))
    }
}

impl Speak for Mqtt {
    fn begin(&mut self, session: SessionId) {
        self.0.begin(session);
    }

    fn packets(&self) -> Option<Box<dyn Packets>> {
        Some(Box::new(MqttPackets::new(self.0.clone())))
    }

    fn decode(&self, message: Message, _: usize) -> Decoded {
        command::decode(&self.0, message.payload)
    }

    fn reply(&self, reply: &Reply) -> Option<Bytes> {
        match reply {
            Reply::Connected { .. } | Reply::Authenticated { .. } => Some(self.connack()),
            Reply::Subscribed { id, channel, position, .. } => {
                let granted = self.subscribed(channel, *position);
                self.filter_answered(id.as_ref(), granted)
            }
            Reply::Unsubscribed { id, channel } => {
                // Without an id it is replaced by another one.
                if id.is_some() {
                    self.0.lock().outbound.subscriptions.remove(channel);
                }
                self.filter_answered(id.as_ref(), Reason::Success)
            }
            Reply::SubscribedPattern { id, pattern, .. } => {
                self.0.lock().outbound.patterns.insert(pattern.as_str().to_owned());
                self.filter_answered(id.as_ref(), Reason::Success)
            }
            Reply::UnsubscribedPattern { id, pattern } => {
                self.0.lock().outbound.patterns.remove(pattern);
                self.filter_answered(id.as_ref(), Reason::Success)
            }
            Reply::Published { id, position } => self.published(id.as_ref(), position.is_some()),
            Reply::Pong { id } => self.pong(id.as_ref()),
            Reply::Acknowledged => self.0.lock().outbound.release(),
            Reply::Error(error) => self.refused(error),
            Reply::PatternEnded { .. }
            | Reply::History { .. }
            | Reply::Presence { .. }
            | Reply::Joined { .. } => None,
        }
    }

    fn nothing_kept(&self, channel: &Channel) -> Option<Bytes> {
        if let Some(subscription) = self.0.lock().outbound.subscriptions.get_mut(channel) {
            subscription.retained_at = None;
        }
        None
    }

    fn refuse(&self, error: ReplyError, close: Close) -> Result<Reply, Close> {
        let version = self.0.version();
        let ends = match CommandId::of(error.id.as_ref()) {
            Some(CommandId::Connect) => true,
            // It sends the publication again after it has reconnected.
            Some(CommandId::PublishOnce { .. } | CommandId::PublishExactlyOnce { .. }) => {
                error.code.is_temporary() && (version == Version::V3 || close == Close::Unavailable)
            }
            // A subscription has ended, for which there is no packet.
            None => error.channel.is_some(),
            _ => false,
        };
        if ends { Err(close) } else { Ok(Reply::Error(error)) }
    }

    fn format(&self) -> Format {
        match (self.0.version(), self.0.carrier) {
            (Version::V3, Carrier::WebSocket) => Format::Mqtt,
            (Version::V5, Carrier::WebSocket) => Format::Mqtt5,
            (Version::V3, Carrier::Stream) => Format::MqttStream,
            (Version::V5, Carrier::Stream) => Format::Mqtt5Stream,
        }
    }

    fn subscription(&self, channel: &Channel) -> (Format, Option<Stamp>) {
        let state = self.0.lock();
        let subscription = state.outbound.subscriptions.get(channel);
        let is_marked = subscription.is_some_and(MqttSubscription::is_marked);
        let has_past = subscription.is_some_and(|it| it.wants_retained);
        let needs_stamp = is_marked || has_past || state.outbound.is_limited();
        let session = self.0.clone();
        let stamp = move |frame| {
            let mut state = session.lock();
            state.outbound.stamped(frame, session.carrier, session.version())
        };
        let stamp = needs_stamp.then(|| Box::new(stamp) as Stamp);
        (if is_marked { Format::MqttMarked } else { self.format() }, stamp)
    }

    fn last_bytes(&self, close: Close) -> Option<Bytes> {
        let last_packet = self.last_packet(close).unwrap_or_default();
        match self.0.carrier {
            Carrier::WebSocket => Some([last_packet, close_frame(close)].concat().into()),
            Carrier::Stream => Some(last_packet).filter(|packet| !packet.is_empty()),
        }
    }

    fn channels(&self) -> &[Channel] {
        &[]
    }

    fn start_of_run(&mut self) -> Option<ReplayStart> {
        None
    }

    fn stamp(&self) -> Option<Stamp> {
        None
    }

    fn member_stamp(&self) -> Option<Stamp> {
        None
    }

    /// A client that is asked to go to another node is not gone.
    fn take_will(&self, close: Close) -> Option<Will> {
        let mut state = self.0.lock();
        let is_open = matches!(state.phase, MqttPhase::Connected | MqttPhase::Disconnected);
        let will = state.will.take().filter(|_| is_open && close.reconnects_after().is_none());
        will.map(|will| *will)
    }

    fn publishes(&self) -> bool {
        true
    }

    /// A client without one is refused when it connects.
    fn takes_tokens(&self) -> bool {
        true
    }

    fn subscribes_listed(&self) -> bool {
        false
    }

    fn control(&self) -> Option<&dyn SessionControl> {
        None
    }
}

impl Mqtt {
    /// The session is open.
    fn connack(&self) -> Bytes {
        let mut state = self.0.lock();
        state.phase = MqttPhase::Connected;
        let mut body = vec![0, Reason::Success.code()];
        if self.0.version() == Version::V5 {
            let packet_bytes_max = u32::try_from(self.0.packet_bytes_max()).unwrap_or(u32::MAX);
            let mut properties = PropertyList::default()
                .short(RECEIVE_PROPERTY, RECEIVE_MAXIMUM)
                .short(ALIASES_PROPERTY, TOPIC_ALIAS_MAXIMUM)
                .word(MAXIMUM_PACKET_SIZE, packet_bytes_max)
                .byte(SHARED_AVAILABLE, 0);
            if state.is_named_by_node {
                properties = properties.text(ASSIGNED_CLIENT_ID, &self.0.given_client_id());
            }
            if state.wants_expiry {
                properties = properties.word(SESSION_EXPIRY, 0);
            }
            body.extend_from_slice(&properties.finish());
        }
        packet(self.0.carrier, CONNACK, &body)
    }

    /// The packet with which the node ends the connection, if there is one.
    fn last_packet(&self, close: Close) -> Option<Bytes> {
        let (phase, refusal, has_password) = {
            let state = self.0.lock();
            (state.phase, state.refusal, state.has_password)
        };
        let (version, carrier) = (self.0.version(), self.0.carrier);
        match (phase, version) {
            (MqttPhase::Connecting, Version::V3) => {
                let reason = refusal.unwrap_or(refusing::of_connection(close, has_password));
                Some(packet(carrier, CONNACK, &[0, reason.return_code()]))
            }
            (MqttPhase::Connecting, Version::V5) => {
                let reason = refusal.unwrap_or(refusing::of_connection(close, has_password));
                let why = PropertyList::default().text(REASON_STRING, close.text()).finish();
                Some(packet(carrier, CONNACK, &[&[0, reason.code()][..], &why].concat()))
            }
            (MqttPhase::Connected, Version::V5) => {
                let reason = refusal.or(refusing::of_close(close))?;
                let why = PropertyList::default().text(REASON_STRING, close.text()).finish();
                Some(packet(carrier, DISCONNECT, &[&[reason.code()][..], &why].concat()))
            }
            (MqttPhase::Connected, Version::V3)
            | (MqttPhase::Silent | MqttPhase::Disconnected, _) => None,
        }
    }

    /// The broker has confirmed a subscription. Returns the code of what is granted.
    fn subscribed(&self, channel: &Channel, position: Option<Position>) -> Reason {
        let mut state = self.0.lock();
        let Some(subscription) = state.outbound.subscriptions.get_mut(channel) else {
            return Reason::Unspecified;
        };
        subscription.retained_at = position.filter(|_| subscription.wants_retained);
        match (subscription.options.qos, position) {
            (Qos::Zero, _) | (_, None) => Reason::Success,
            (_, Some(position)) => {
                subscription.granted = Qos::One;
                subscription.sent_up_to.get_or_insert(position);
                Reason::GrantedQos1
            }
        }
    }

    /// `is_kept`: whether the channel keeps history.
    fn published(&self, id: Option<&Id>, is_kept: bool) -> Option<Bytes> {
        let why = |retain: bool| (retain && !is_kept).then_some(NOT_RETAINED);
        match CommandId::of(id)? {
            CommandId::PublishOnce { packet_id, retain } => {
                Some(self.ack(PUBACK, packet_id, Reason::Success, why(retain)))
            }
            CommandId::PublishExactlyOnce { packet_id, retain } => {
                self.0.lock().inbound.published(packet_id);
                Some(self.ack(PUBREC, packet_id, Reason::Success, why(retain)))
            }
            _ => None,
        }
    }

    /// The answer to a packet that needs no other module.
    fn pong(&self, id: Option<&Id>) -> Option<Bytes> {
        match CommandId::of(id) {
            None => Some(packet(self.0.carrier, PINGRESP, &[])),
            Some(CommandId::PublishExactlyOnce { packet_id, .. }) => {
                Some(self.ack(PUBREC, packet_id, Reason::Success, None))
            }
            Some(CommandId::Release { packet_id }) => {
                let is_known = self.0.lock().inbound.complete(packet_id);
                let reason = if is_known { Reason::Success } else { Reason::PacketIdNotFound };
                Some(self.ack(PUBCOMP, packet_id, reason, None))
            }
            Some(_) => None,
        }
    }

    /// MQTT 3.1.1 has no answer for a publication that is refused: it is acknowledged (MQTT-3.3.5-2).
    fn refused(&self, error: &ReplyError) -> Option<Bytes> {
        let why = Some(error.message.as_str());
        match CommandId::of(error.id.as_ref())? {
            CommandId::Filter { number, .. } => {
                let channel = error.channel.as_deref().unwrap_or_default();
                let mut state = self.0.lock();
                if state.filter_acks.is_of_subscribe(number) {
                    state.outbound.subscriptions.remove(channel);
                }
                drop(state);
                self.filter_answered(error.id.as_ref(), refusing::of_subscription(error.code))
            }
            CommandId::PublishOnce { packet_id, .. } => {
                Some(self.ack(PUBACK, packet_id, refusing::of_publication(error.code), why))
            }
            CommandId::PublishExactlyOnce { packet_id, .. } => {
                let mut state = self.0.lock();
                match self.0.version() {
                    // The client releases it.
                    Version::V3 => state.inbound.published(packet_id),
                    Version::V5 => _ = state.inbound.complete(packet_id),
                }
                drop(state);
                Some(self.ack(PUBREC, packet_id, refusing::of_publication(error.code), why))
            }
            CommandId::Connect | CommandId::Publish | CommandId::Release { .. } => None,
        }
    }

    /// The command of a topic filter is answered. Some: all of its packet are.
    fn filter_answered(&self, id: Option<&Id>, reason: Reason) -> Option<Bytes> {
        let CommandId::Filter { number, at } = CommandId::of(id)? else { return None };
        let ack = self.0.lock().filter_acks.answer(number, at, reason)?;
        let version = self.0.version();
        let FilterAck { first, packet_id, .. } = ack;
        debug_assert!(first == SUBACK || first == written::UNSUBACK);
        Some(codes_ack(self.0.carrier, version, first, packet_id, &ack.codes(version)))
    }

    fn ack(&self, first: u8, packet_id: u16, reason: Reason, why: Option<&str>) -> Bytes {
        let why = why.filter(|_| self.0.lock().wants_reasons);
        ack(self.0.carrier, self.0.version(), first, packet_id, reason, why)
    }
}
