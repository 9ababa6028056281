//! What a session of the protocol keeps: its version, what it is answering, and what its client has asked for.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::aliases::TopicAliases;
use super::carried;
use super::inbound::InboundState;
use super::outbound::OutboundState;
use super::packet::{ConnectPacket, Version, WillPacket};
use super::reason::{PacketFault, Reason};
use super::subscribing::FilterAcks;
use super::written::Carrier;
use crate::close::Close;
use crate::protocol::Will;
use crate::publication::{Channel, Publication, SessionId};

/// How long a client may take for its CONNECT.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// In place of a keep-alive time: the client has not sent its CONNECT.
const NOT_CONNECTED: u32 = u32::MAX;

/// Shared by the protocol, which reads packets and writes replies, and by what divides the client's bytes into packets.
#[derive(Debug)]
pub struct MqttSession {
    pub carrier: Carrier,
    /// Most bytes of a packet of the client.
    packet_bytes_max: usize,
    /// None before the session begins.
    session: Option<SessionId>,
    speaks_v5: AtomicBool,
    /// Seconds, or [`NOT_CONNECTED`].
    keep_alive: AtomicU32,
    state: Mutex<MqttState>,
}

/// How far the conversation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MqttPhase {
    /// The client has sent no CONNECT.
    #[default]
    Silent,
    /// The CONNECT is not answered.
    Connecting,
    Connected,
    /// The client has sent a DISCONNECT.
    Disconnected,
}

#[derive(Debug, Default)]
pub struct MqttState {
    pub phase: MqttPhase,
    /// Why the connection ends, if the close reason does not say it.
    pub refusal: Option<Reason>,
    pub has_password: bool,
    /// Whether the node gives the client its identifier, which it must be told.
    pub is_named_by_node: bool,
    /// Whether the client wants a session that outlives the connection.
    pub wants_expiry: bool,
    /// Whether the client takes reasons beside failures (section 3.1.2.11.7).
    pub wants_reasons: bool,
    pub inbound: InboundState,
    pub filter_acks: FilterAcks,
    pub outbound: OutboundState,
    pub aliases: TopicAliases,
    /// What is to be published when the client is gone without a DISCONNECT.
    pub will: Option<Box<Will>>,
}

impl PartialEq for MqttSession {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for MqttSession {}

impl MqttSession {
    pub fn new(carrier: Carrier, packet_bytes_max: usize) -> Self {
        Self {
            carrier,
            packet_bytes_max,
            session: None,
            speaks_v5: AtomicBool::new(false),
            keep_alive: AtomicU32::new(NOT_CONNECTED),
            state: Mutex::default(),
        }
    }

    pub fn begin(self: &mut Arc<Self>, session: SessionId) {
        if let Some(this) = Arc::get_mut(self) {
            this.session = Some(session);
        }
    }

    /// The client identifier that the node gives.
    pub fn given_client_id(&self) -> String {
        self.session.map(|session| session.to_string()).unwrap_or_default()
    }

    pub fn packet_bytes_max(&self) -> usize {
        self.packet_bytes_max
    }

    /// The version of the client. Before its CONNECT: the older one.
    pub fn version(&self) -> Version {
        match self.speaks_v5.load(Ordering::Relaxed) {
            true => Version::V5,
            false => Version::V3,
        }
    }

    /// MQTT-3.1.2-22: one and a half times the keep-alive time.
    pub fn silence_max(&self) -> Option<Duration> {
        match self.keep_alive.load(Ordering::Relaxed) {
            0 => None,
            NOT_CONNECTED => Some(CONNECT_TIMEOUT),
            seconds => Some(Duration::from_millis(u64::from(seconds) * 1500)),
        }
    }

    /// The client has sent its CONNECT. Fails if its will cannot be published.
    pub fn connect(&self, packet: &ConnectPacket) -> Result<(), PacketFault> {
        self.speaks_v5.store(packet.version == Version::V5, Ordering::Relaxed);
        self.keep_alive.store(u32::from(packet.keep_alive), Ordering::Relaxed);
        let mut state = self.lock();
        let properties = packet.properties.as_deref();
        state.phase = MqttPhase::Connecting;
        state.has_password = packet.password.is_some();
        state.is_named_by_node = packet.client_id.as_str().is_empty();
        state.wants_expiry = properties.and_then(|it| it.session_expiry).is_some_and(|it| it > 0);
        state.wants_reasons = properties.and_then(|it| it.wants_reasons) != Some(false);
        state.outbound.limit(
            properties.and_then(|it| it.maximum_packet_size),
            properties.and_then(|it| it.receive_maximum),
        );
        state.will = packet.will.as_deref().map(will).transpose()?.map(Box::new);
        Ok(())
    }

    /// The close of a connection whose client has sent such a packet.
    pub fn refuse(&self, fault: PacketFault) -> Close {
        let PacketFault { reason, what } = fault;
        let mut state = self.lock();
        state.refusal = Some(reason);
        if reason == Reason::UnsupportedVersion && state.phase == MqttPhase::Silent {
            // It gets the answer to a CONNECT.
            state.phase = MqttPhase::Connecting;
        }
        match reason {
            Reason::PacketTooLarge => Close::TooLarge,
            _ => Close::Protocol(what),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, MqttState> {
        // A session that panicked while it held the lock has damaged only its own state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn will(packet: &WillPacket) -> Result<Will, PacketFault> {
    let (topic, properties) = (packet.topic.as_str(), packet.properties.as_deref());
    let channel = match Channel::new(topic) {
        Ok(channel) if !topic.contains(['+', '#']) => channel,
        _ => {
            let what = "the topic of the will is no channel name";
            return Err(PacketFault { reason: Reason::TopicInvalid, what });
        }
    };
    let carried = carried::of_packet(properties, packet.qos, packet.retain);
    if carried.as_ref().is_some_and(|carried| !carried.fits()) {
        let what = "the will has more than 2048 bytes of properties";
        return Err(PacketFault { reason: Reason::QuotaExceeded, what });
    }
    let properties = carried.map(Arc::new);
    let publication = Publication { properties, ..Publication::bare(packet.payload.clone()) };
    Ok(Will { channel, publication })
}
