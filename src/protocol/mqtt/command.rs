//! The commands of a client's packets.

use bytes::Bytes;

use super::command_id::CommandId;
use super::inbound::Arrival;
use super::packet::{
    AckKind, AckPacket, ClientPacket, ConnectPacket, FilterOptions, PublishPacket, Qos,
    SubscribePacket, UnsubscribePacket, Version,
};
use super::reason::{PacketFault, Reason};
use super::session::{MqttPhase, MqttSession};
use super::topic::{FilterFault, channel_of_filter};
use super::written::{SUBACK, UNSUBACK};
use crate::close::Close;
use crate::protocol::{Code, Command, DecodeError, Decoded, Id, ReplyError, Token};
use crate::publication::{Channel, InvalidChannel, Publication};

/// Decodes exactly one packet.
pub fn decode(session: &MqttSession, bytes: Bytes) -> Decoded {
    let refuse = |fault| DecodeError::Close(session.refuse(fault));
    let phase = session.lock().phase;
    if phase == MqttPhase::Silent && !ClientPacket::is_connect(&bytes) {
        // MQTT-3.1.0-1.
        return Err(DecodeError::Close(Close::Protocol("the first packet of a client is CONNECT")));
    }
    let packet = ClientPacket::read(bytes, session.version()).map_err(refuse)?;
    match packet {
        ClientPacket::Connect(packet) if phase == MqttPhase::Silent => connect(session, &packet),
        // MQTT-3.1.0-2.
        ClientPacket::Connect(_) => {
            Err(refuse(PacketFault::protocol("a client sends one CONNECT only")))
        }
        ClientPacket::Publish(packet) => publish(session, packet).map_err(refuse),
        ClientPacket::Ack(kind, ack) => acknowledge(session, kind, ack).map_err(refuse),
        ClientPacket::Subscribe(packet) => subscribe(session, packet).map_err(refuse),
        ClientPacket::Unsubscribe(packet) => Ok(unsubscribe(session, packet)),
        ClientPacket::Ping => Ok(vec![Ok(Command::Ping { id: None })]),
        ClientPacket::Disconnect { .. } => {
            session.lock().phase = MqttPhase::Disconnected;
            Err(DecodeError::Close(Close::Client(None)))
        }
    }
}

fn connect(session: &MqttSession, packet: &ConnectPacket) -> Decoded {
    session.connect(packet);
    let refuse =
        |reason, what| Err(DecodeError::Close(session.refuse(PacketFault { reason, what })));
    let has_method =
        packet.properties.as_deref().is_some_and(|it| it.authentication_method.is_some());
    if has_method {
        return refuse(Reason::BadAuthenticationMethod, "the node has no authentication methods");
    }
    if packet.version == Version::V3 && packet.client_id.as_str().is_empty() && !packet.is_clean {
        // MQTT 3.1.1: MQTT-3.1.3-8.
        return refuse(
            Reason::ClientIdNotValid,
            "a session that is kept needs a client identifier",
        );
    }
    let token = match packet.password.as_deref().map(std::str::from_utf8) {
        None => None,
        Some(Ok(password)) => Some(Token(password.to_owned())),
        Some(Err(_)) => return refuse(Reason::BadUserOrPassword, "the password is no token"),
    };
    Ok(vec![Ok(Command::Connect { id: Some(CommandId::Connect.into()), token })])
}

fn publish(session: &MqttSession, packet: PublishPacket) -> Result<Vec<Outcome>, PacketFault> {
    let version = session.version();
    let topic = packet.topic.as_str();
    if packet.properties.as_deref().is_some_and(|it| it.topic_alias.is_some()) {
        return Err(PacketFault {
            reason: Reason::TopicAliasInvalid,
            what: "the node takes no topic aliases",
        });
    }
    if topic.is_empty() || topic.contains(['+', '#']) {
        // MQTT-3.3.2-2 and MQTT-4.7.3-1.
        let what = "a topic has at least one character and no wildcard";
        return Err(PacketFault { reason: Reason::TopicInvalid, what });
    }
    let packet_id = packet.packet_id;
    let id = match packet.qos {
        Qos::Zero => CommandId::Publish,
        Qos::One => CommandId::PublishOnce { packet_id },
        Qos::Two => {
            let id = CommandId::PublishExactlyOnce { packet_id };
            match session.lock().inbound.arrive(packet_id, version)? {
                Arrival::New => id,
                Arrival::Pending => return Ok(Vec::new()),
                // Only its acknowledgement is wanted.
                Arrival::Again => return Ok(vec![Ok(Command::Ping { id: Some(id.into()) })]),
            }
        }
    };
    let channel = match Channel::new(topic) {
        Ok(channel) => channel,
        Err(invalid) => return Ok(vec![Err(bad_topic(id, topic, invalid))]),
    };
    let publication = Publication::bare(packet.payload);
    Ok(vec![Ok(Command::Publish { id: Some(id.into()), channel, publication })])
}

fn bad_topic(id: CommandId, topic: &str, invalid: InvalidChannel) -> ReplyError {
    let (channel, message) = (Some(topic.to_owned()), invalid.to_string());
    ReplyError { id: Some(id.into()), channel, code: Code::BadRequest, message }
}

fn acknowledge(
    session: &MqttSession,
    kind: AckKind,
    ack: AckPacket,
) -> Result<Vec<Outcome>, PacketFault> {
    match kind {
        AckKind::Pubrel => {
            let id = CommandId::Release { packet_id: ack.packet_id };
            Ok(vec![Ok(Command::Ping { id: Some(id.into()) })])
        }
        _ if session.version() == Version::V3 => Ok(Vec::new()),
        _ => Err(PacketFault::protocol("the node awaits no such acknowledgement")),
    }
}

fn subscribe(session: &MqttSession, packet: SubscribePacket) -> Result<Vec<Outcome>, PacketFault> {
    let SubscribePacket { packet_id, filters, .. } = packet;
    let mut state = session.lock();
    let number = state.filter_acks.begin(SUBACK, packet_id, filters.len());
    let mut outcomes = Vec::with_capacity(filters.len());
    for (at, (filter, options)) in filters.iter().enumerate() {
        let at = at as u16;
        let id = Id::from(CommandId::Filter { number, at });
        let FilterOptions { no_local, .. } = *options;
        outcomes.push(match channel_of_filter(filter.as_str()) {
            Ok(channel) => Ok(Command::Subscribe {
                id: Some(id),
                channel,
                start: None,
                echo: !no_local,
                grant: None,
            }),
            Err(FilterFault { reason, what }) => {
                state.filter_acks.preset(number, at, reason);
                Err(bad_filter(id, filter.as_str(), what))
            }
        });
    }
    Ok(outcomes)
}

fn unsubscribe(session: &MqttSession, packet: UnsubscribePacket) -> Vec<Outcome> {
    let UnsubscribePacket { packet_id, filters } = packet;
    let mut state = session.lock();
    let number = state.filter_acks.begin(UNSUBACK, packet_id, filters.len());
    let mut outcomes = Vec::with_capacity(filters.len());
    for (at, filter) in filters.iter().enumerate() {
        let at = at as u16;
        let id = Id::from(CommandId::Filter { number, at });
        outcomes.push(match channel_of_filter(filter.as_str()) {
            Ok(channel) => {
                if !state.subscribed.contains(&channel) {
                    state.filter_acks.preset(number, at, Reason::NoSubscription);
                }
                Ok(Command::Unsubscribe { id: Some(id), channel })
            }
            // There is no such subscription.
            Err(FilterFault { what, .. }) => {
                state.filter_acks.preset(number, at, Reason::NoSubscription);
                Err(bad_filter(id, filter.as_str(), what))
            }
        });
    }
    outcomes
}

fn bad_filter(id: Id, filter: &str, what: &str) -> ReplyError {
    let (channel, message) = (Some(filter.to_owned()), what.to_owned());
    ReplyError { id: Some(id), channel, code: Code::BadRequest, message }
}

type Outcome = Result<Command, ReplyError>;
