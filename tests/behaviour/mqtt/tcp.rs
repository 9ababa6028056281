//! MQTT over TCP and TLS: the listener of `mqtt.listen`.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use testkit::authority::Authority;
use testkit::client::Client;
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::node::{Node, tidegate};
use testkit::process::Signal;
use testkit::tls_client::TlsClient;
use testkit::{eventually, soon};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{Connect, Packet, V3, V5, packet, text};

for_simple_brokers!(clients_over_tcp_and_over_websockets_get_the_same_publications);

const LISTEN: &str = "mqtt.listen=127.0.0.1:0";

/// Connections of MQTT over TCP.
const CONNECTIONS: &str = r#"tidegate_connections{protocol="mqtt",transport="tcp"}"#;

/// Where the node listens for MQTT, from its log.
async fn address(node: &Node) -> SocketAddr {
    eventually("the address in the log", async || {
        node.process.stderr().iter().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["protocol"] == "mqtt").then(|| line["address"].as_str()?.parse().ok()).flatten()
        })
    })
    .await
}

/// A client on a stream.
struct Device<S>(S);

impl Device<TcpStream> {
    async fn open(node: &Node) -> Self {
        Self(TcpStream::connect(address(node).await).await.expect("the node accepts"))
    }

    async fn connected(node: &Node, level: u8) -> Self {
        let mut device = Self::open(node).await;
        device.connect(level).await;
        device
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Device<S> {
    async fn connect(&mut self, level: u8) {
        self.send(&Connect::new(level).packet()).await;
        let connack = self.receive().await;
        assert_eq!((connack.first, connack.body[1]), (0x20, 0), "{connack:?}");
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("the node reads");
    }

    async fn receive(&mut self) -> Packet {
        soon("a packet", async {
            let first = self.0.read_u8().await.expect("a packet");
            let (mut remaining, mut shift) = (0, 0);
            loop {
                let byte = self.0.read_u8().await.expect("a length");
                remaining |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; remaining];
            self.0.read_exact(&mut body).await.expect("the rest of a packet");
            Packet { first, body }
        })
        .await
    }

    async fn subscribe(&mut self, level: u8, topic: &str) {
        let properties: &[u8] = if level == V5 { &[0] } else { &[] };
        let body = [&[0, 7], properties, &text(topic), &[0]].concat();
        self.send(&packet(0x82, &body)).await;
        let suback = self.receive().await;
        assert_eq!((suback.first, suback.body.last()), (0x90, Some(&0)), "{suback:?}");
    }

    async fn publish(&mut self, level: u8, topic: &str, payload: &[u8]) {
        let properties: &[u8] = if level == V5 { &[0] } else { &[] };
        self.send(&packet(0x30, &[&text(topic), properties, payload].concat())).await;
    }

    async fn expect(&mut self, level: u8, topic: &str, payload: &[u8]) {
        let properties: &[u8] = if level == V5 { &[0] } else { &[] };
        let body = [&text(topic), properties, payload].concat();
        assert_eq!(self.receive().await, Packet { first: 0x30, body });
    }

    /// Everything until the node closes its side.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = soon("the end", self.0.read_to_end(&mut rest)).await;
        rest
    }
}

async fn clients_over_tcp_and_over_websockets_get_the_same_publications(broker: Broker) {
    let fleet = broker.fleet(&[LISTEN]).await;
    let [a, b] = fleet.nodes();
    for level in [V3, V5] {
        let topic = format!("site/{level}");
        let mut viewer = Client::subscribed(a, &topic).await;
        let mut reader = Device::connected(b, level).await;
        reader.subscribe(level, &topic).await;
        let mut sensor = Device::connected(a, level).await;
        sensor.publish(level, &topic, b"21.5").await;
        reader.expect(level, &topic, b"21.5").await;
        assert_eq!(viewer.event().await["data"], 21.5);
        // More bytes than one read brings.
        let large = "x".repeat(60_000);
        viewer.publish(&topic, large.clone().into()).await;
        reader.expect(level, &topic, serde_json::json!(large).to_string().as_bytes()).await;
    }
    b.wait_for_metric(CONNECTIONS, 0.).await;
}

#[tokio::test]
async fn packets_over_tcp_may_arrive_byte_by_byte_and_many_at_once() {
    let node = Node::standalone(&[LISTEN]).await;
    let mut device = Device::open(&node).await;
    for byte in Connect::new(V3).packet() {
        device.send(&[byte]).await;
    }
    assert_eq!(device.receive().await.first, 0x20);
    device.subscribe(V3, "a").await;
    let one = packet(0x30, &[text("a"), b"1".to_vec()].concat());
    device.send(&one.repeat(500)).await;
    for _ in 0..500 {
        device.expect(V3, "a", b"1").await;
    }
}

#[tokio::test]
async fn a_tls_listener_of_mqtt_accepts_devices_with_and_without_alpn_and_no_plain_tcp() {
    let authority = Authority::create();
    let identity = authority.issue("node");
    let cert = format!("mqtt.tls.cert={}", identity.cert.display());
    let key = format!("mqtt.tls.key={}", identity.key.display());
    let node = Node::standalone(&[LISTEN, &cert, &key]).await;
    let address = address(&node).await;
    for client in [TlsClient::new(&authority), TlsClient::new(&authority).with_alpn(&["mqtt"])] {
        let mut device = Device(client.connect(address).await);
        device.connect(V5).await;
        device.subscribe(V5, "a").await;
        device.publish(V5, "a", b"1").await;
        device.expect(V5, "a", b"1").await;
    }
    let mut plain = Device::open(&node).await;
    plain.send(&Connect::new(V3).packet()).await;
    let rest = plain.rest().await;
    assert!(!rest.contains(&0x20), "{rest:?}");
}

/// MQTT-3.1.2-22: one and a half times the keep-alive time.
#[tokio::test]
async fn a_silent_device_over_tcp_is_disconnected_and_one_that_pings_is_not() {
    let node = Node::standalone(&[LISTEN]).await;
    let mut silent = Device::open(&node).await;
    let mut alive = Device::open(&node).await;
    for device in [&mut silent, &mut alive] {
        device.send(&Connect { keep_alive: 2, ..Connect::new(V5) }.packet()).await;
        assert_eq!(device.receive().await.first, 0x20);
    }
    let pinging = async {
        loop {
            alive.send(&[0xc0, 0]).await;
            assert_eq!(alive.receive().await, Packet { first: 0xd0, body: Vec::new() });
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let last = tokio::select! {
        last = silent.rest() => last,
        () = pinging => unreachable!("it pings until the other is disconnected"),
    };
    // DISCONNECT with the reason 0x8D, keep alive timeout.
    assert_eq!((last[0], last[2]), (0xe0, 0x8d), "{last:?}");
    alive.send(&[0xc0, 0]).await;
    assert_eq!(alive.receive().await.first, 0xd0);
}

#[tokio::test]
async fn bytes_that_are_not_mqtt_end_their_connection_over_tcp_alone() {
    let node = Node::standalone(&[LISTEN]).await;
    let mut healthy = Device::connected(&node, V3).await;
    healthy.subscribe(V3, "a").await;
    for bytes in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"\x10\xff\xff\xff\xff\x7f", &[0; 64]]
    {
        let mut hostile = Device::open(&node).await;
        hostile.send(bytes).await;
        hostile.rest().await;
    }
    healthy.publish(V3, "a", b"1").await;
    healthy.expect(V3, "a", b"1").await;
}

#[tokio::test]
async fn limits_on_connections_count_devices_over_tcp() {
    let node = Node::standalone(&[LISTEN, "limits.connections_per_ip=2"]).await;
    let _first = Device::connected(&node, V3).await;
    let _second = Device::connected(&node, V5).await;
    let mut third = Device::open(&node).await;
    // The node may have closed it already.
    let _ = third.0.write_all(&Connect::new(V3).packet()).await;
    assert_eq!(third.rest().await, [0; 0]);
    let rejected = r#"tidegate_rejected_total{reason="connections_per_ip"}"#;
    node.wait_for_metric(rejected, 1.).await;
}

#[tokio::test]
async fn a_proxy_header_names_the_client_of_a_connection_over_tcp() {
    let settings = [LISTEN, "mqtt.proxy_protocol=true", "limits.connections_per_ip=1"];
    let node = Node::standalone(&settings).await;
    let header = |last: u8| format!("PROXY TCP4 192.0.2.{last} 198.51.100.1 51234 1883\r\n");
    let mut devices = Vec::new();
    for last in [1, 2] {
        let mut device = Device::open(&node).await;
        device.send(header(last).as_bytes()).await;
        device.connect(V3).await;
        devices.push(device);
    }
    let mut again = Device::open(&node).await;
    again.send(header(1).as_bytes()).await;
    assert_eq!(again.rest().await, [0; 0]);
}

#[tokio::test]
async fn a_draining_node_disconnects_devices_over_tcp_and_accepts_no_more() {
    let settings = [LISTEN, "drain.delay=0s", "drain.period=100ms"];
    let node = Node::standalone(&settings).await;
    let mut device = Device::connected(&node, V5).await;
    let address = address(&node).await;
    node.signal(Signal::TERM);
    let last = device.rest().await;
    assert_eq!(last[0], 0xe0, "a DISCONNECT says why: {last:?}");
    eventually("the listener to close", async || {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
}

#[tokio::test]
async fn faults_of_the_mqtt_listener_are_named() {
    for (settings, what) in [
        (&["mqtt.listen=127.0.0.1:8080"][..], "must be another address than server.listen"),
        (&["mqtt.listen=127.0.0.1:9090"], "must be another address than internal.listen"),
        (&["mqtt.listen=0.0.0.0:1883"], "mqtt.listen = 0.0.0.0:1883 is reachable from other hosts"),
        (&["mqtt.listen=1883"], "mqtt.listen"),
    ] {
        let mut command = tidegate(&["check"]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let ended = testkit::node::run_to_end(command).await;
        let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(what), "{what} is not in {stderr}");
    }
}
