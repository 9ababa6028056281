//! An MQTT client over a WebSocket that sends any bytes and reads packets.

use std::collections::VecDeque;

use testkit::client::{Client, Message};
use testkit::node::Node;

/// A packet of the node: its first byte, and what follows its fixed header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub first: u8,
    pub body: Vec<u8>,
}

/// The level of the protocol.
pub const V3: u8 = 4;
pub const V5: u8 = 5;

pub struct Mqtt {
    client: Client,
    level: u8,
    unread: VecDeque<u8>,
}

/// Everything of a CONNECT that tests change.
#[derive(Clone, Debug)]
pub struct Connect {
    pub level: u8,
    pub flags: u8,
    pub keep_alive: u16,
    /// Without their length.
    pub properties: Vec<u8>,
    pub client_id: &'static str,
    /// The will, the user name and the password, as they are in the packet.
    pub rest: Vec<u8>,
}

impl Connect {
    pub fn new(level: u8) -> Self {
        let (properties, rest) = (Vec::new(), Vec::new());
        Self { level, flags: 0x02, keep_alive: 0, properties, client_id: "", rest }
    }

    pub fn password(self, password: &str) -> Self {
        let flags = self.flags | 0xc0;
        Self { flags, rest: [self.rest, text("user"), text(password)].concat(), ..self }
    }

    pub fn packet(&self) -> Vec<u8> {
        let mut body = [text("MQTT"), vec![self.level, self.flags]].concat();
        body.extend(self.keep_alive.to_be_bytes());
        if self.level == V5 {
            body.extend(length(self.properties.len()));
            body.extend(&self.properties);
        }
        body.extend(text(self.client_id));
        body.extend(&self.rest);
        packet(0x10, &body)
    }
}

/// A text with its length.
pub fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// A variable byte integer.
pub fn length(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let digit = (value & 0x7f) as u8;
        value >>= 7;
        bytes.push(if value > 0 { digit | 0x80 } else { digit });
        if value == 0 {
            return bytes;
        }
    }
}

pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first][..], &length(body.len()), body].concat()
}

impl Mqtt {
    /// A WebSocket on which no packet was sent.
    pub async fn open(node: &Node, level: u8) -> Self {
        let client = Client::with_subprotocol(node, "/ws", "mqtt").await;
        assert_eq!(client.response.headers()["sec-websocket-protocol"], "mqtt");
        Self { client, level, unread: VecDeque::new() }
    }

    /// Sends a CONNECT. Returns the CONNACK too.
    pub async fn try_connect(node: &Node, connect: &Connect) -> (Self, Packet) {
        let mut mqtt = Self::open(node, connect.level).await;
        mqtt.send(&connect.packet()).await;
        let connack = mqtt.receive().await;
        assert_eq!(connack.first, 0x20, "{connack:?}");
        (mqtt, connack)
    }

    pub async fn connect_with(node: &Node, connect: &Connect) -> Self {
        let (mqtt, connack) = Self::try_connect(node, connect).await;
        assert_eq!(connack.body[1], 0, "{connack:?}");
        mqtt
    }

    pub async fn connect(node: &Node, level: u8) -> Self {
        Self::connect_with(node, &Connect::new(level)).await
    }

    /// A client that is subscribed to a topic.
    pub async fn subscribed(node: &Node, level: u8, topic: &str) -> Self {
        let mut mqtt = Self::connect(node, level).await;
        let codes = mqtt.subscribe(&[(topic, 0)]).await;
        assert!(codes[0] < 0x80, "{codes:?}");
        mqtt
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.client.send(bytes.to_vec()).await;
    }

    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.client.try_send(bytes.to_vec()).await.is_ok()
    }

    pub async fn send_text(&mut self, text: &str) {
        self.client.send(text).await;
    }

    /// The next packet.
    pub async fn receive(&mut self) -> Packet {
        loop {
            if let Some(packet) = self.next_unread() {
                return packet;
            }
            match self.client.receive().await {
                Message::Binary(bytes) => self.unread.extend(bytes),
                other => panic!("packets are in binary frames: {other:?}"),
            }
        }
    }

    fn next_unread(&mut self) -> Option<Packet> {
        let (mut remaining, mut at) = (0, 1);
        loop {
            let byte = usize::from(*self.unread.get(at)?);
            remaining |= (byte & 0x7f) << (7 * (at - 1));
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if self.unread.len() < at + remaining {
            return None;
        }
        let mut whole: Vec<u8> = self.unread.drain(..at + remaining).collect();
        let body = whole.split_off(at);
        Some(Packet { first: whole[0], body })
    }

    /// Whether the connection ends without a further packet.
    pub async fn is_closed(&mut self) -> bool {
        assert!(self.unread.is_empty(), "{:?}", self.unread);
        matches!(self.client.next_frame().await, Message::Close(_))
    }

    /// The reason of the DISCONNECT with which the connection ends.
    pub async fn disconnected(&mut self) -> u8 {
        let last = self.receive().await;
        assert_eq!(last.first, 0xe0, "{last:?}");
        assert!(self.is_closed().await);
        last.body[0]
    }

    /// Asserts that nothing has arrived before the answer to a ping.
    pub async fn quiet(&mut self) {
        self.send(&[0xc0, 0]).await;
        assert_eq!(self.receive().await, Packet { first: 0xd0, body: Vec::new() });
    }

    /// An empty list of properties, where the version has them.
    pub fn no_properties(&self) -> &'static [u8] {
        if self.level == V5 { &[0] } else { &[] }
    }

    /// Returns the codes of the SUBACK.
    pub async fn subscribe(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        let mut body = [&[0, 7], self.no_properties()].concat();
        for (filter, options) in filters {
            body.extend(text(filter));
            body.push(*options);
        }
        self.send(&packet(0x82, &body)).await;
        let suback = self.receive().await;
        assert_eq!((suback.first, &suback.body[..2]), (0x90, &[0, 7][..]), "{suback:?}");
        suback.body[2 + self.no_properties().len()..].to_vec()
    }

    /// Returns the codes of the UNSUBACK, which only MQTT 5 has.
    pub async fn unsubscribe(&mut self, filter: &str) -> Vec<u8> {
        let body = [&[0, 8], self.no_properties(), &text(filter)].concat();
        self.send(&packet(0xa2, &body)).await;
        let unsuback = self.receive().await;
        assert_eq!((unsuback.first, &unsuback.body[..2]), (0xb0, &[0, 8][..]), "{unsuback:?}");
        unsuback.body[2 + self.no_properties().len()..].to_vec()
    }

    /// Sends a SUBSCRIBE for one topic with properties of MQTT 5, and returns the code of the SUBACK.
    pub async fn subscribe_with(&mut self, properties: &[u8], filter: &str, options: u8) -> u8 {
        let body =
            [&[0, 7, properties.len() as u8], properties, &text(filter), &[options]].concat();
        self.send(&packet(0x82, &body)).await;
        let suback = self.receive().await;
        assert_eq!((suback.first, suback.body.len()), (0x90, 4), "{suback:?}");
        suback.body[3]
    }

    /// Sends a PUBLISH of QoS 0 with properties of MQTT 5.
    pub async fn publish_with(&mut self, properties: &[u8], topic: &str, payload: &[u8]) {
        let body = [&text(topic), &[properties.len() as u8][..], properties, payload].concat();
        self.send(&packet(0x30, &body)).await;
    }

    /// Asserts that the next packet is a PUBLISH of QoS 1, and returns its packet identifier.
    pub async fn expect_once(&mut self, topic: &str, payload: &[u8]) -> u16 {
        let received = self.receive().await;
        let head = text(topic);
        assert_eq!(
            (received.first, &received.body[..head.len()]),
            (0x32, &head[..]),
            "{received:?}"
        );
        let id = &received.body[head.len()..head.len() + 2];
        let rest = [self.no_properties(), payload].concat();
        assert_eq!(received.body[head.len() + 2..], rest, "{received:?}");
        u16::from_be_bytes([id[0], id[1]])
    }

    pub async fn acknowledge(&mut self, packet_id: u16) {
        self.send(&packet(0x40, &packet_id.to_be_bytes())).await;
    }

    /// Sends a PUBLISH of QoS 0.
    pub async fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.publish_as(0, topic, 0, payload).await;
    }

    /// Sends a PUBLISH with these flags. `packet_id`: 0 with QoS 0.
    pub async fn publish_as(&mut self, flags: u8, topic: &str, packet_id: u16, payload: &[u8]) {
        let mut body = text(topic);
        if packet_id > 0 {
            body.extend(packet_id.to_be_bytes());
        }
        body.extend(self.no_properties());
        body.extend(payload);
        self.send(&packet(0x30 | flags, &body)).await;
    }

    /// Asserts that the next packet is a PUBLISH of QoS 0.
    pub async fn expect(&mut self, topic: &str, payload: &[u8]) {
        let packet = self.receive().await;
        let body = [&text(topic), self.no_properties(), payload].concat();
        assert_eq!(packet, Packet { first: 0x30, body });
    }
}
