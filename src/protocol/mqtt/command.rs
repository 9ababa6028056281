//! The commands of a client's packets.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::carried;
use super::command_id::CommandId;
use super::inbound::Arrival;
use super::outbound::{MqttSubscription, OutboundState};
use super::packet::{
    AckKind, AckPacket, ClientPacket, ConnectPacket, FilterOptions, PublishPacket, Qos,
    RetainHandling, SubscribePacket, UnsubscribePacket, Version,
};
use super::reason::{PacketFault, Reason};
use super::session::{MqttPhase, MqttSession};
use super::topic::{FilterFault, TopicFilter};
use super::written::{SUBACK, UNSUBACK};
use crate::close::Close;
use crate::protocol::{Code, Command, DecodeError, Decoded, Id, ReplyError, Token};
use crate::publication::{Channel, InvalidChannel, PROPERTIES_BYTES_MAX, Publication, ReplayStart};

/// The reason of a client that disconnects and wants its will to be published.
const DISCONNECT_WITH_WILL: u8 = 0x04;

/// Decodes exactly one packet.
pub fn decode(session: &MqttSession, bytes: Bytes) -> Decoded {
    let refuse = |fault| DecodeError::Close(session.refuse(fault));
    let (phase, is_over) = {
        let state = session.lock();
        (state.phase, state.outbound.is_over())
    };
    if is_over {
        return Err(DecodeError::Close(Close::Slow));
    }
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
        ClientPacket::Ack(kind, ack) => Ok(acknowledge(session, kind, ack)),
        ClientPacket::Subscribe(packet) => subscribe(session, packet).map_err(refuse),
        ClientPacket::Unsubscribe(packet) => Ok(unsubscribe(session, packet)),
        ClientPacket::Ping => Ok(vec![Ok(Command::Ping { id: None })]),
        ClientPacket::Disconnect { reason, .. } => {
            let mut state = session.lock();
            state.phase = MqttPhase::Disconnected;
            if reason != DISCONNECT_WITH_WILL {
                // MQTT-3.14.4-3.
                state.will = None;
            }
            drop(state);
            Err(DecodeError::Close(Close::Client(None)))
        }
    }
}

fn connect(session: &MqttSession, packet: &ConnectPacket) -> Decoded {
    let accepted = session.connect(packet);
    let refuse =
        |reason, what| Err(DecodeError::Close(session.refuse(PacketFault { reason, what })));
    if let Err(fault) = accepted {
        return Err(DecodeError::Close(session.refuse(fault)));
    }
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
    let properties = packet.properties.as_deref();
    let alias = properties.and_then(|it| it.topic_alias);
    let topic = session.lock().aliases.resolve(alias, packet.topic.as_str())?;
    if topic.is_empty() || topic.contains(['+', '#']) {
        // MQTT-3.3.2-2 and MQTT-4.7.3-1.
        let what = "a topic has at least one character and no wildcard";
        return Err(PacketFault { reason: Reason::TopicInvalid, what });
    }
    if properties.is_some_and(|it| it.is_utf8 == Some(true))
        && std::str::from_utf8(&packet.payload).is_err()
    {
        let what = "a payload that is said to be UTF-8 is not";
        return Err(PacketFault { reason: Reason::PayloadFormatInvalid, what });
    }
    let (packet_id, retain) = (packet.packet_id, packet.retain);
    let id = match packet.qos {
        Qos::Zero => CommandId::Publish,
        Qos::One => CommandId::PublishOnce { packet_id, retain },
        Qos::Two => {
            let id = CommandId::PublishExactlyOnce { packet_id, retain };
            match session.lock().inbound.arrive(packet_id, session.version())? {
                Arrival::New => id,
                Arrival::Pending => return Ok(Vec::new()),
                // Only its acknowledgement is wanted.
                Arrival::Again => return Ok(vec![Ok(Command::Ping { id: Some(id.into()) })]),
            }
        }
    };
    let carried = carried::of_packet(properties, packet.qos, retain);
    if carried.as_ref().is_some_and(|carried| !carried.fits()) {
        let message = format!("more than {PROPERTIES_BYTES_MAX} bytes of properties");
        let (channel, code) = (Some(topic.into()), Code::TooLarge);
        return Ok(vec![Err(ReplyError { id: Some(id.into()), channel, code, message })]);
    }
    let channel = match Channel::new(&topic) {
        Ok(channel) => channel,
        Err(invalid) => return Ok(vec![Err(bad_topic(id, &topic, invalid))]),
    };
    let properties = carried.map(Arc::new);
    let publication = Publication { properties, ..Publication::bare(packet.payload) };
    Ok(vec![Ok(Command::Publish { id: Some(id.into()), channel, publication })])
}

fn bad_topic(id: CommandId, topic: &str, invalid: InvalidChannel) -> ReplyError {
    let (channel, message) = (Some(topic.to_owned()), invalid.to_string());
    ReplyError { id: Some(id.into()), channel, code: Code::BadRequest, message }
}

/// The node sends no publications of QoS 2, so it awaits no PUBREC and PUBCOMP. Those that it does not await are counted as
/// commands, so that a flood of them is limited.
fn acknowledge(session: &MqttSession, kind: AckKind, ack: AckPacket) -> Vec<Outcome> {
    let packet_id = ack.packet_id;
    match kind {
        AckKind::Pubrel => {
            let id = CommandId::Release { packet_id };
            vec![Ok(Command::Ping { id: Some(id.into()) })]
        }
        AckKind::Puback if session.lock().outbound.acknowledge(packet_id) => {
            vec![Ok(Command::Acknowledge)]
        }
        _ => Vec::new(),
    }
}

fn subscribe(session: &MqttSession, packet: SubscribePacket) -> Result<Vec<Outcome>, PacketFault> {
    let SubscribePacket { packet_id, filters, subscription_id } = packet;
    let mut state = session.lock();
    let number = state.filter_acks.begin(SUBACK, packet_id, filters.len());
    let last_of: HashMap<&str, usize> =
        filters.iter().enumerate().map(|(at, (filter, _))| (filter.as_str(), at)).collect();
    let mut outcomes = Vec::with_capacity(filters.len());
    for (at, (filter, options)) in filters.iter().enumerate() {
        let filter = filter.as_str();
        let last = last_of.get(filter).copied().unwrap_or(at);
        if last != at {
            state.filter_acks.repeat(number, at as u16, last as u16);
            continue;
        }
        let at = at as u16;
        let id = Id::from(CommandId::Filter { number, at });
        match TopicFilter::parse(filter) {
            Ok(TopicFilter::Pattern(_)) if subscription_id.is_some() => {
                let what = "the node gives filters with wildcards no subscription identifiers";
                state.filter_acks.preset(number, at, Reason::SubscriptionIdsNotSupported);
                outcomes.push(Err(bad_filter(id, filter, what)));
            }
            Ok(TopicFilter::Pattern(pattern)) => {
                let (id, echo) = (Some(id), !options.no_local);
                outcomes.push(Ok(Command::SubscribePattern { id, pattern, echo }));
            }
            Ok(TopicFilter::Channel(channel)) => {
                let requested = RequestedFilter { options: *options, subscription_id };
                requested.add_commands(&mut state.outbound, id, channel, &mut outcomes);
            }
            Err(FilterFault { reason, what }) => {
                state.filter_acks.preset(number, at, reason);
                outcomes.push(Err(bad_filter(id, filter, what)));
            }
        }
    }
    Ok(outcomes)
}

/// A subscription that a client requests.
struct RequestedFilter {
    options: FilterOptions,
    subscription_id: Option<u32>,
}

impl RequestedFilter {
    /// A subscription that the client has already is replaced (MQTT-3.8.4-3): one of QoS 1 continues where it was, so that
    /// no publication is lost, and gets nothing retained.
    fn add_commands(
        self,
        outbound: &mut OutboundState,
        id: Id,
        channel: Channel,
        outcomes: &mut Vec<Outcome>,
    ) {
        let Self { options, subscription_id } = self;
        let before = outbound.subscriptions.get(&channel);
        let sent_up_to = before.filter(|it| it.granted != Qos::Zero).and_then(|it| it.sent_up_to);
        let wants_retained = match options.retain_handling {
            _ if sent_up_to.is_some() => false,
            RetainHandling::Always => true,
            RetainHandling::IfNew => before.is_none(),
            RetainHandling::Never => false,
        };
        let start = match sent_up_to {
            Some(position) => Some(ReplayStart::After(position)),
            None => wants_retained.then_some(ReplayStart::Newest(1)),
        };
        if before.is_some() {
            outcomes.push(Ok(Command::Unsubscribe { id: None, channel: channel.clone() }));
        }
        let subscription = MqttSubscription {
            options,
            subscription_id,
            granted: Qos::Zero,
            wants_retained,
            retained_at: None,
            sent_up_to,
        };
        outbound.subscriptions.insert(channel.clone(), subscription);
        let (id, echo) = (Some(id), !options.no_local);
        outcomes.push(Ok(Command::Subscribe { id, channel, start, echo, grant: None }));
    }
}

fn unsubscribe(session: &MqttSession, packet: UnsubscribePacket) -> Vec<Outcome> {
    let UnsubscribePacket { packet_id, filters } = packet;
    let mut state = session.lock();
    let number = state.filter_acks.begin(UNSUBACK, packet_id, filters.len());
    let mut outcomes = Vec::with_capacity(filters.len());
    for (at, filter) in filters.iter().enumerate() {
        let at = at as u16;
        let id = Id::from(CommandId::Filter { number, at });
        outcomes.push(match TopicFilter::parse(filter.as_str()) {
            Ok(TopicFilter::Pattern(_)) => {
                let pattern = filter.as_str().to_owned();
                if !state.outbound.patterns.contains(&pattern) {
                    state.filter_acks.preset(number, at, Reason::NoSubscription);
                }
                Ok(Command::UnsubscribePattern { id: Some(id), pattern })
            }
            Ok(TopicFilter::Channel(channel)) => {
                if !state.outbound.subscriptions.contains_key(&channel) {
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
