//! The publications that the node sends to one client: what it wants of each topic, and which of QoS 1 are not
//! acknowledged.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::{Bytes, BytesMut};

use super::carried;
use super::marked::{MarkedPublication, RELEASE};
use super::packet::FilterOptions;
use super::properties::{REASON_STRING, SUBSCRIPTION_ID};
use super::qos::Qos;
use super::reason::Reason;
use super::version::Version;
use super::written::{Carrier, DISCONNECT, PropertyList, PublishHead, packet, publish};
use crate::publication::{Channel, Position};

/// Most publications of QoS 1 that a client has not acknowledged, whatever receive maximum it gives.
const IN_FLIGHT_MAX: usize = 1024;

/// Most bytes of publications that wait until the client acknowledges others. Beyond that it is disconnected.
const HELD_BYTES_MAX: usize = 1 << 20;

const RETAIN: u8 = 0x01;
const QOS_1: u8 = 0x02;

/// What a session sends.
#[derive(Debug)]
pub struct OutboundState {
    pub subscriptions: HashMap<Channel, MqttSubscription>,
    /// The filters with wildcards to which the client is subscribed, at most `session.patterns_max`.
    pub patterns: HashSet<String>,
    /// Most bytes of a packet that the client takes.
    pub packet_bytes_max: usize,
    receive_maximum: usize,
    last_id: u16,
    in_flight: HashSet<u16>,
    /// Those that wait for an acknowledgement, each with whether it is retained.
    held: VecDeque<(MarkedPublication, bool)>,
    held_bytes: usize,
    /// The client was told that it is too slow, and gets nothing more.
    is_over: bool,
}

/// What a client wants of a topic.
#[derive(Clone, Copy, Debug)]
pub struct MqttSubscription {
    pub options: FilterOptions,
    pub subscription_id: Option<u32>,
    /// QoS 0 until the subscription is answered.
    pub granted: Qos,
    /// Whether it begins with what is retained.
    pub wants_retained: bool,
    /// The position of what is retained, until it is sent.
    pub retained_at: Option<Position>,
    /// The position up to which the client got the channel.
    pub sent_up_to: Option<Position>,
}

impl MqttSubscription {
    /// Whether all of its publications differ from those of other subscribers.
    pub fn is_marked(&self) -> bool {
        let FilterOptions { qos, retain_as_published, .. } = self.options;
        qos != Qos::Zero || retain_as_published || self.subscription_id.is_some()
    }
}

impl Default for OutboundState {
    fn default() -> Self {
        Self {
            subscriptions: HashMap::new(),
            patterns: HashSet::new(),
            packet_bytes_max: usize::MAX,
            receive_maximum: IN_FLIGHT_MAX,
            last_id: 0,
            in_flight: HashSet::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            is_over: false,
        }
    }
}

impl OutboundState {
    /// What the client says of itself when it connects.
    pub fn limit(&mut self, packet_bytes_max: Option<u32>, receive_maximum: Option<u16>) {
        self.packet_bytes_max = packet_bytes_max.map_or(usize::MAX, |max| max as usize);
        let maximum = receive_maximum.map_or(IN_FLIGHT_MAX, usize::from);
        self.receive_maximum = maximum.min(IN_FLIGHT_MAX);
    }

    /// Whether all frames must be looked at.
    pub fn is_limited(&self) -> bool {
        self.packet_bytes_max != usize::MAX
    }

    /// The bytes that the client gets for a frame of its queue. None: it gets none, or later.
    pub fn stamped(&mut self, frame: Bytes, carrier: Carrier, version: Version) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        if frame == RELEASE {
            return self.released(carrier, version);
        }
        let Some(marked) = MarkedPublication::read(&frame) else {
            return self.fitting(frame, carrier);
        };
        let subscription = self.subscription(&marked)?;
        let is_retained = marked.position.is_some() && subscription.retained_at == marked.position;
        if is_retained {
            subscription.retained_at = None;
        }
        let is_repeated = subscription.granted != Qos::Zero
            && marked.position.is_some()
            && marked.position <= subscription.sent_up_to;
        if is_repeated && !is_retained {
            // It was queued for the subscription that this one has replaced.
            return None;
        }
        subscription.sent_up_to = marked.position.or(subscription.sent_up_to);
        // An empty payload says that nothing is retained.
        if is_retained && marked.payload.is_empty() {
            return None;
        }
        let is_full = self.in_flight.len() >= self.receive_maximum || !self.held.is_empty();
        if self.qos_of(&marked) != Qos::Zero && is_full {
            return self.hold(marked, is_retained, carrier, version);
        }
        self.completed(&marked, is_retained, carrier, version)
    }

    fn subscription(&mut self, marked: &MarkedPublication) -> Option<&mut MqttSubscription> {
        self.subscriptions.get_mut(std::str::from_utf8(&marked.topic).ok()?)
    }

    /// MQTT-3.8.4-8: the smaller of what was published and what was granted.
    fn qos_of(&mut self, marked: &MarkedPublication) -> Qos {
        match marked.is_qos_0 || marked.position.is_none() {
            true => Qos::Zero,
            false => self.subscription(marked).map_or(Qos::Zero, |it| it.granted.min(Qos::One)),
        }
    }

    fn hold(
        &mut self,
        marked: MarkedPublication,
        is_retained: bool,
        carrier: Carrier,
        version: Version,
    ) -> Option<Bytes> {
        self.held_bytes += marked.payload.len() + marked.topic.len() + size_of_val(&marked);
        if self.held_bytes <= HELD_BYTES_MAX {
            self.held.push_back((marked, is_retained));
            return None;
        }
        self.is_over = true;
        (self.held, self.in_flight) = Default::default();
        let why = "the client does not acknowledge what it gets: reconnect";
        let why = PropertyList::default().text(REASON_STRING, why).finish();
        let body = [&[Reason::QuotaExceeded.code()][..], &why].concat();
        (version == Version::V5).then(|| packet(carrier, DISCONNECT, &body))
    }

    /// Whether the client is to be disconnected, because it acknowledges too little.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The packet of a publication. None: the client wants it no longer, it has expired, or it is too large.
    fn completed(
        &mut self,
        marked: &MarkedPublication,
        is_retained: bool,
        carrier: Carrier,
        version: Version,
    ) -> Option<Bytes> {
        let qos = self.qos_of(marked);
        let subscription = *self.subscription(marked)?;
        if carried::is_expired(marked.expires_at) {
            return None;
        }
        let retain = is_retained || (subscription.options.retain_as_published && marked.retain);
        let flags = if retain { RETAIN } else { 0 } | if qos == Qos::One { QOS_1 } else { 0 };
        let mut properties =
            carried::with_expiry(carried::continued(&marked.properties), marked.expires_at);
        if let Some(id) = subscription.subscription_id {
            properties = properties.variable(SUBSCRIPTION_ID, id);
        }
        let packet_id = (qos == Qos::One).then(|| self.next_id());
        let topic = std::str::from_utf8(&marked.topic).ok()?;
        let properties = &properties.bare();
        let head = PublishHead { flags, topic, packet_id, properties };
        let frame = self.fitting(publish(carrier, version, head, &marked.payload), carrier)?;
        self.in_flight.extend(packet_id);
        Some(frame)
    }

    /// MQTT-3.1.2-25: what is too large for the client is dropped.
    fn fitting(&self, frame: Bytes, carrier: Carrier) -> Option<Bytes> {
        let head = match (carrier, frame.len()) {
            (Carrier::Stream, _) => 0,
            (Carrier::WebSocket, 0..=127) => 2,
            (Carrier::WebSocket, 128..=0x1_0003) => 4,
            (Carrier::WebSocket, _) => 10,
        };
        (frame.len() - head.min(frame.len()) <= self.packet_bytes_max).then_some(frame)
    }

    /// An identifier that is not in use; there are fewer in use than exist.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id > 0 && !self.in_flight.contains(&self.last_id) {
                return self.last_id;
            }
        }
    }

    /// The client has acknowledged a publication. Returns false if none of this identifier is in flight.
    pub fn acknowledge(&mut self, packet_id: u16) -> bool {
        let is_known = self.in_flight.remove(&packet_id);
        if self.in_flight.is_empty() {
            // An idle session holds no memory for it.
            self.in_flight = HashSet::new();
        }
        is_known
    }

    /// The frame that the session queues after an acknowledgement. None: nothing waits for one.
    ///
    /// The held publications are not sent here: newer ones may have a place in the queue already.
    pub fn release(&self) -> Option<Bytes> {
        (!self.held.is_empty()).then_some(Bytes::from_static(RELEASE))
    }

    /// What may be sent now of the queued frames.
    fn released(&mut self, carrier: Carrier, version: Version) -> Option<Bytes> {
        let mut frames = BytesMut::new();
        while self.in_flight.len() < self.receive_maximum
            && let Some((marked, is_retained)) = self.held.pop_front()
        {
            if let Some(frame) = self.completed(&marked, is_retained, carrier, version) {
                frames.extend_from_slice(&frame);
            }
        }
        if self.held.is_empty() {
            (self.held, self.held_bytes) = (VecDeque::new(), 0);
        }
        (!frames.is_empty()).then(|| frames.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::super::marked::MqttMarkedFrames;
    use super::super::packet::RetainHandling;
    use super::*;
    use crate::protocol::Encode;
    use crate::publication::{PayloadKind, Publication};

    const TOPIC: &str = "a";

    /// The publication with this number, as it is queued.
    fn queued(number: u64) -> Bytes {
        let payload = Bytes::from(number.to_string());
        let position = Some(Position { epoch: 1, seq: number });
        let publication = Publication { position, ..Publication::new(payload, PayloadKind::Text) };
        MqttMarkedFrames::publication(TOPIC, &publication)
    }

    fn state(receive_maximum: u16) -> OutboundState {
        let mut state = OutboundState::default();
        state.limit(None, Some(receive_maximum));
        let options = FilterOptions {
            qos: Qos::One,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Never,
        };
        let subscription = MqttSubscription {
            options,
            subscription_id: None,
            granted: Qos::One,
            wants_retained: false,
            retained_at: None,
            sent_up_to: None,
        };
        state.subscriptions.insert(Channel::new(TOPIC).unwrap(), subscription);
        state
    }

    /// The last bytes of what is written for a frame.
    fn written(state: &mut OutboundState, frame: Bytes) -> Option<u8> {
        state.stamped(frame, Carrier::Stream, Version::V5).and_then(|it| it.last().copied())
    }

    #[test]
    fn publications_that_wait_for_an_acknowledgement_are_written_before_newer_ones() {
        let mut state = state(1);
        assert_eq!(written(&mut state, queued(1)), Some(b'1'));
        assert_eq!(written(&mut state, queued(2)), None);
        // The third is queued before the client acknowledges the first, and written after that.
        assert!(state.acknowledge(1));
        let release = state.release().expect("the second waits");
        assert_eq!(written(&mut state, queued(3)), None);
        assert_eq!(written(&mut state, release), Some(b'2'));
        assert!(state.acknowledge(2));
        let release = state.release().expect("the third waits");
        assert_eq!(written(&mut state, release), Some(b'3'));
        assert!(state.acknowledge(3));
        assert_eq!(state.release(), None);
        assert_eq!(written(&mut state, queued(4)), Some(b'4'));
    }
}
