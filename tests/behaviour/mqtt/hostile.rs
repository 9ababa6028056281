//! Clients that violate the protocol: each ends only its own connection.

use testkit::node::Node;

use super::client::{Connect, Mqtt, V3, V5, packet, text};

/// Packets of an MQTT 5 client that are none, each with the reason of the DISCONNECT.
fn violations() -> Vec<(&'static str, Vec<u8>, u8)> {
    let subscribe = |rest: &[u8]| packet(0x82, &[&[0, 1, 0][..], rest].concat());
    vec![
        ("MQTT-1.5.5-1: a length in a longer form than needed", vec![0xc0, 0x80, 0x00], 0x81),
        ("a length of five bytes", vec![0xc0, 0xff, 0xff, 0xff, 0xff, 0x01], 0x81),
        ("MQTT-2.1.3-1: flags of another kind", packet(0xc1, &[]), 0x81),
        ("MQTT-2.2.1-3: the packet identifier 0", packet(0x82, &[0, 0, 0, 0, 1, b'a', 0]), 0x81),
        ("MQTT-3.8.3-2: no filter", subscribe(&[]), 0x82),
        ("MQTT-3.8.3-5: reserved bits", subscribe(&[0, 1, b'a', 0xc0]), 0x81),
        ("retain handling 3", subscribe(&[0, 1, b'a', 0x30]), 0x82),
        ("QoS 3", packet(0x36, &[text("a"), vec![0, 1, 0]].concat()), 0x81),
        ("MQTT-3.3.1-2: DUP with QoS 0", packet(0x38, &[text("a"), vec![0]].concat()), 0x81),
        ("MQTT-1.5.4-1: no UTF-8", packet(0x30, &[0, 1, 0xff, 0]), 0x81),
        ("MQTT-1.5.4-2: U+0000", packet(0x30, &[0, 1, 0, 0]), 0x81),
        ("a CONNACK", packet(0x20, &[0, 0, 0]), 0x82),
        ("an AUTH without a method", packet(0xf0, &[]), 0x82),
        ("a property of another kind of packet", packet(0x30, &[0, 1, b'a', 2, 0x17, 1]), 0x81),
        ("a property twice", packet(0x30, &[0, 1, b'a', 4, 0x01, 1, 0x01, 1]), 0x82),
        ("properties longer than the packet", packet(0x30, &[0, 1, b'a', 0x7f]), 0x81),
        ("a ping with content", packet(0xc0, &[0]), 0x81),
    ]
}

#[tokio::test]
async fn each_violation_of_the_protocol_ends_its_own_connection_with_its_reason() {
    let node = Node::standalone(&[]).await;
    let mut victim = Mqtt::subscribed(&node, V5, "news").await;
    for (what, bytes, reason) in violations() {
        let mut mqtt = Mqtt::connect(&node, V5).await;
        mqtt.send(&bytes).await;
        assert_eq!(mqtt.disconnected().await, reason, "{what}");
    }
    victim.publish("news", b"still here").await;
    victim.expect("news", b"still here").await;
}

#[tokio::test]
async fn a_giant_packet_is_refused_by_its_header() {
    let node = Node::standalone(&[]).await;
    let mut mqtt = Mqtt::connect(&node, V5).await;
    mqtt.send(&[0x30, 0xff, 0xff, 0xff, 0x7f]).await;
    assert_eq!(mqtt.disconnected().await, 0x95);
    let mut early = Mqtt::open(&node, V3).await;
    early.send(&[0x10, 0xff, 0xff, 0xff, 0x7f]).await;
    assert!(early.is_closed().await);
}

#[tokio::test]
async fn broken_connects_end_the_connection() {
    let node = Node::standalone(&[]).await;
    let whole = Connect::new(V5).packet();
    let reserved_flag = Connect { flags: 0x03, ..Connect::new(V5) }.packet();
    let qos_without_will = Connect { flags: 0x0a, ..Connect::new(V5) }.packet();
    let cut = packet(0x10, &whole[2..whole.len() - 1]);
    let longer = packet(0x10, &[&whole[2..], b"x"].concat());
    for bytes in [reserved_flag, qos_without_will, cut, longer] {
        let mut mqtt = Mqtt::open(&node, V5).await;
        mqtt.send(&bytes).await;
        assert!(mqtt.is_closed().await, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_flood_of_unreleased_publications_ends_that_connection_alone() {
    let node = Node::standalone(&[]).await;
    let mut victim = Mqtt::subscribed(&node, V5, "news").await;
    let mut flooder = Mqtt::connect(&node, V5).await;
    for packet_id in 1..=65 {
        flooder.publish_as(0x04, "other", packet_id, b"1").await;
    }
    for _ in 1..=64 {
        assert_eq!(flooder.receive().await.first, 0x50);
    }
    assert_eq!(flooder.disconnected().await, 0x93);
    victim.publish("news", b"still here").await;
    victim.expect("news", b"still here").await;
}

#[tokio::test]
async fn a_flood_of_small_packets_in_one_frame_does_not_delay_others() {
    let node = Node::standalone(&[]).await;
    let mut victim = Mqtt::subscribed(&node, V5, "news").await;
    let mut flooder = Mqtt::connect(&node, V3).await;
    flooder.try_send(&[0xc0, 0].repeat(30_000)).await;
    victim.publish("news", b"still here").await;
    victim.expect("news", b"still here").await;
}
