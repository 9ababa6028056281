//! CONNECT, its refusals, keep-alive, and how connections end.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::node::Node;
use testkit::token::{KEYS, token};

use super::client::{Connect, Mqtt, V3, V5, packet, text};

/// A node that takes tokens, on which only tokens' channels may be used.
async fn node_with_tokens() -> Node {
    Node::standalone(&[KEYS, r#"rules=[{pattern="**",subscribe="token",publish="token"}]"#]).await
}

#[tokio::test]
async fn the_password_of_an_mqtt_client_is_its_token() {
    let node = node_with_tokens().await;
    let password = token(60., json!({"sub": "sensor", "publish": ["a"], "subscribe": ["a"]}));
    for level in [V3, V5] {
        let connect = Connect::new(level).password(&password);
        let mut mqtt = Mqtt::connect_with(&node, &connect).await;
        let denied = if level == V3 { 0x80 } else { 0x87 };
        assert_eq!(mqtt.subscribe(&[("a", 0), ("b", 0)]).await, [0, denied]);
        mqtt.publish("b", b"refused, which QoS 0 does not tell").await;
        mqtt.publish("a", b"1").await;
        mqtt.expect("a", b"1").await;
    }
}

/// MQTT-3.1.4-2, MQTT-3.2.2-7: a refused client gets a CONNACK with the reason, and the connection ends.
#[tokio::test]
async fn an_mqtt_client_without_a_valid_token_is_refused_by_connack() {
    let node = node_with_tokens().await;
    for (level, without, with_wrong) in [(V3, 5, 4), (V5, 0x87, 0x86)] {
        for (connect, code) in [
            (Connect::new(level), without),
            (Connect::new(level).password("wrong"), with_wrong),
            (Connect::new(level).password(&token(-60., json!({"sub": "late"}))), with_wrong),
        ] {
            let (mut mqtt, connack) = Mqtt::try_connect(&node, &connect).await;
            assert_eq!(connack.body[..2], [0, code], "{connect:?}");
            assert!(mqtt.is_closed().await);
        }
    }
}

/// MQTT-3.1.2-2 and MQTT-3.1.4-1.
#[tokio::test]
async fn an_mqtt_client_of_another_version_is_told_so_and_one_of_another_protocol_is_closed() {
    let node = Node::standalone(&[]).await;
    let (mut mqtt, connack) = Mqtt::try_connect(&node, &Connect::new(3)).await;
    assert_eq!(connack.body, [0, 1]);
    assert!(mqtt.is_closed().await);
}

/// MQTT-3.1.0-1 and MQTT-3.1.0-2.
#[tokio::test]
async fn connect_is_the_first_packet_of_a_client_and_comes_once() {
    let node = Node::standalone(&[]).await;
    let mut early = Mqtt::open(&node, V3).await;
    early.send(&packet(0x30, &text("news"))).await;
    assert!(early.is_closed().await);
    let mut twice = Mqtt::connect(&node, V3).await;
    twice.send(&Connect::new(V3).packet()).await;
    assert!(twice.is_closed().await);
    let mut twice = Mqtt::connect(&node, V5).await;
    twice.send(&Connect::new(V5).packet()).await;
    assert_eq!(twice.disconnected().await, 0x82);
}

/// MQTT 3.1.1: MQTT-3.1.3-8.
#[tokio::test]
async fn a_kept_session_of_mqtt_3_needs_a_client_identifier() {
    let node = Node::standalone(&[]).await;
    let connect = Connect { flags: 0, ..Connect::new(V3) };
    let (mut mqtt, connack) = Mqtt::try_connect(&node, &connect).await;
    assert_eq!(connack.body, [0, 2]);
    assert!(mqtt.is_closed().await);
}

/// MQTT-3.1.3-6 and MQTT-3.2.2-16.
#[tokio::test]
async fn an_mqtt_5_client_without_an_identifier_is_given_one() {
    let node = Node::standalone(&[]).await;
    let (_mqtt, connack) = Mqtt::try_connect(&node, &Connect::new(V5)).await;
    let assigned = connack.body.windows(3).position(|bytes| bytes[0] == 0x12 && bytes[1] == 0);
    assert!(assigned.is_some(), "{connack:?}");
}

/// MQTT-4.12.0-1: an authentication method that the node has not is refused with 0x8C.
#[tokio::test]
async fn enhanced_authentication_is_refused() {
    let node = Node::standalone(&[]).await;
    let properties = [&[0x15][..], &text("SCRAM-SHA-1")].concat();
    let connect = Connect { properties, ..Connect::new(V5) };
    let (mut mqtt, connack) = Mqtt::try_connect(&node, &connect).await;
    assert_eq!(connack.body[1], 0x8c);
    assert!(mqtt.is_closed().await);
}

/// MQTT-3.1.2-22: within one and a half times the keep-alive time.
#[tokio::test]
async fn an_mqtt_client_that_is_silent_for_longer_than_its_keep_alive_is_disconnected() {
    let node = Node::standalone(&[]).await;
    let connect = Connect { keep_alive: 1, ..Connect::new(V5) };
    let started = Instant::now();
    let mut silent = Mqtt::connect_with(&node, &connect).await;
    assert_eq!(silent.disconnected().await, 0x8d);
    assert!(started.elapsed() >= Duration::from_millis(1500));
}

/// MQTT-3.14.4-1 and MQTT-3.14.4-2.
#[tokio::test]
async fn an_mqtt_client_that_disconnects_is_closed_without_a_packet() {
    let node = Node::standalone(&[]).await;
    for level in [V3, V5] {
        let mut mqtt = Mqtt::connect(&node, level).await;
        mqtt.send(&[0xe0, 0]).await;
        assert!(mqtt.is_closed().await);
    }
}

/// Section 4.13: a draining node asks its clients to go elsewhere.
#[tokio::test]
async fn a_draining_node_disconnects_mqtt_5_clients_with_a_reason() {
    let node = Node::standalone(&[]).await;
    let (mut v3, mut v5) = (Mqtt::connect(&node, V3).await, Mqtt::connect(&node, V5).await);
    node.post("/api/drain?percent=100", &[], b"").await;
    assert_eq!(v5.disconnected().await, 0x9c);
    assert!(v3.is_closed().await);
}
