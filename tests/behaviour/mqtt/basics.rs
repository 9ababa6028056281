//! Subscribing, publishing with QoS 0, pings, and how packets lie in frames.

use serde_json::json;
use testkit::client::{Client, publication};
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::node::Node;

use super::client::{Mqtt, Packet, V3, V5, packet, text};

const RULES: &str = r#"rules=[{pattern="secret",subscribe="nobody",publish="nobody"},{pattern="**",subscribe="anyone",publish="anyone"}]"#;

for_simple_brokers!(
    an_mqtt_publication_reaches_subscribers_of_both_versions_and_of_json_on_another_node,
    an_mqtt_client_gets_what_json_clients_publish,
);

async fn an_mqtt_publication_reaches_subscribers_of_both_versions_and_of_json_on_another_node(
    broker: Broker,
) {
    let fleet = broker.fleet(&[]).await;
    let [a, b] = fleet.nodes();
    let topic = "site/1/temperature";
    let mut readers = [Mqtt::subscribed(b, V3, topic).await, Mqtt::subscribed(b, V5, topic).await];
    let mut json = Client::subscribed(b, topic).await;
    for level in [V3, V5] {
        let mut sensor = Mqtt::connect(a, level).await;
        sensor.publish(topic, b"21.5").await;
        for reader in &mut readers {
            reader.expect(topic, b"21.5").await;
        }
        assert_eq!(json.event().await, publication(topic, 21.5));
        sensor.publish(topic, b"\xff\x00").await;
        for reader in &mut readers {
            reader.expect(topic, b"\xff\x00").await;
        }
        let binary = json!({"type": "publication", "channel": topic, "base64": "/wA="});
        assert_eq!(json.event().await, binary);
    }
}

async fn an_mqtt_client_gets_what_json_clients_publish(broker: Broker) {
    let fleet = broker.fleet(&[]).await;
    let [a, b] = fleet.nodes();
    let mut readers =
        [Mqtt::subscribed(b, V3, "orders").await, Mqtt::subscribed(b, V5, "orders").await];
    let mut json = Client::json(a).await;
    json.publish("orders", json!({"id": 1})).await;
    for reader in &mut readers {
        reader.expect("orders", br#"{"id":1}"#).await;
    }
    // The longest forms of lengths.
    let text = "x".repeat(40_000);
    json.publish("orders", json!(text)).await;
    for reader in &mut readers {
        reader.expect("orders", json!(text).to_string().as_bytes()).await;
    }
}

/// MQTT-3.8.4-5: one code for each filter, in their order; MQTT-3.11.3-2 the same.
#[tokio::test]
async fn a_subscribe_is_answered_by_one_code_for_each_filter() {
    let node = Node::standalone(&[RULES]).await;
    let filters =
        [("a", 0), ("secret", 0), ("a b", 0), ("$share/g/a", 0), ("a/+", 0), ("#", 0), ("b", 0)];
    let mut v3 = Mqtt::connect(&node, V3).await;
    assert_eq!(v3.subscribe(&filters).await, [0, 0x80, 0x80, 0x80, 0x80, 0x80, 0]);
    let mut v5 = Mqtt::connect(&node, V5).await;
    assert_eq!(v5.subscribe(&filters).await, [0, 0x87, 0x8f, 0x9e, 0x87, 0x87, 0]);
    for mqtt in [&mut v3, &mut v5] {
        mqtt.publish("b", b"1").await;
        mqtt.expect("b", b"1").await;
    }
    v3.expect("b", b"1").await;
}

/// MQTT-3.10.4-1 and MQTT-3.10.4-2.
#[tokio::test]
async fn an_mqtt_client_gets_nothing_after_unsubscribing() {
    let node = Node::standalone(&[]).await;
    for level in [V3, V5] {
        let mut mqtt = Mqtt::subscribed(&node, level, "news").await;
        let codes = mqtt.unsubscribe("news").await;
        assert!(codes.iter().all(|code| *code == 0), "{codes:?}");
        mqtt.publish("news", b"1").await;
        mqtt.quiet().await;
        let codes = mqtt.unsubscribe("news").await;
        assert!(codes.iter().all(|code| *code == 0x11), "no subscription existed: {codes:?}");
        assert_eq!(mqtt.subscribe(&[("news", 0)]).await, [0]);
        mqtt.publish("news", b"2").await;
        mqtt.expect("news", b"2").await;
    }
}

/// MQTT-3.8.3-3: the publications of a client do not reach its own subscription with No Local.
#[tokio::test]
async fn an_mqtt_client_with_no_local_gets_only_the_publications_of_others() {
    let node = Node::standalone(&[]).await;
    let mut quiet = Mqtt::connect(&node, V5).await;
    assert_eq!(quiet.subscribe(&[("news", 0x04)]).await, [0]);
    quiet.publish("news", b"own").await;
    quiet.quiet().await;
    let mut other = Mqtt::connect(&node, V3).await;
    other.publish("news", b"other").await;
    quiet.expect("news", b"other").await;
}

/// MQTT-6.0.0-2: a packet may lie in several frames, and a frame may hold several packets.
#[tokio::test]
async fn packets_may_be_cut_and_joined_by_frames_in_any_way() {
    let node = Node::standalone(&[]).await;
    let mut mqtt = Mqtt::subscribed(&node, V3, "news").await;
    let one = |payload: &str| packet(0x30, &[text("news"), payload.into()].concat());
    let subscribe = packet(0x82, &[&[0, 9][..], &text("more"), &[0]].concat());
    let to_more = packet(0x30, &[text("more"), b"3".to_vec()].concat());
    let all = [one("1"), one("2"), subscribe, to_more, vec![0xc0, 0]].concat();
    let expected = [
        Packet { first: 0x30, body: [text("news"), b"1".to_vec()].concat() },
        Packet { first: 0x30, body: [text("news"), b"2".to_vec()].concat() },
        Packet { first: 0x30, body: [text("more"), b"3".to_vec()].concat() },
        Packet { first: 0x90, body: vec![0, 9, 0] },
        Packet { first: 0xd0, body: vec![] },
    ];
    for size in [all.len(), 1, 7] {
        for part in all.chunks(size) {
            mqtt.send(part).await;
        }
        let mut received = Vec::new();
        for _ in 0..expected.len() {
            received.push(mqtt.receive().await);
        }
        received.sort_by_key(|packet| (packet.first, packet.body.clone()));
        let mut expected = expected.to_vec();
        expected.sort_by_key(|packet| (packet.first, packet.body.clone()));
        assert_eq!(received, expected, "in frames of {size} bytes");
    }
}

/// MQTT-6.0.0-1.
#[tokio::test]
async fn a_text_frame_ends_an_mqtt_connection() {
    let node = Node::standalone(&[]).await;
    let mut mqtt = Mqtt::connect(&node, V3).await;
    mqtt.send_text("hello").await;
    assert!(mqtt.is_closed().await);
}

#[tokio::test]
async fn mqtt_clients_count_as_connections_of_their_protocol() {
    let node = Node::standalone(&[]).await;
    let _clients = [Mqtt::connect(&node, V3).await, Mqtt::connect(&node, V5).await];
    node.wait_for_metric(r#"tidegate_connections{protocol="mqtt",transport="websocket"}"#, 2.)
        .await;
}
