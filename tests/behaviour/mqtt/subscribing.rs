//! Subscriptions of QoS 1.

use serde_json::json;
use testkit::client::Client;
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::node::Node;

use super::HISTORY;
use super::client::{Connect, Mqtt, V3, V5};

for_simple_brokers!(qos_1_is_granted_where_the_channel_keeps_history);

async fn qos_1_is_granted_where_the_channel_keeps_history(broker: Broker) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    for level in [V3, V5] {
        let mut reader = Mqtt::connect(b, level).await;
        let topic = format!("kept/{level}");
        let codes = reader.subscribe(&[(&topic, 1), ("live/a", 1), ("kept/b", 2)]).await;
        assert_eq!(codes, [1, 0, 1]);
        let mut sensor = Mqtt::connect(a, V3).await;
        sensor.publish_as(0x02, &topic, 1, b"QoS 1").await;
        reader.expect_once(&topic, b"QoS 1").await;
        let mut json = Client::json(a).await;
        let command = json!({"type": "publish", "id": 1, "channel": topic, "data": 1});
        assert_eq!(json.request(command).await["type"], "published");
        reader.expect_once(&topic, b"1").await;
        sensor.publish_as(0x02, "live/a", 2, b"no history").await;
        reader.expect("live/a", b"no history").await;
    }
}

/// MQTT-3.8.4-8: the smaller of the publication's QoS and the granted one.
#[tokio::test]
async fn a_publication_of_qos_0_arrives_with_qos_0() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut reader = Mqtt::connect(&node, V5).await;
    assert_eq!(reader.subscribe(&[("kept", 1)]).await, [1]);
    let mut sensor = Mqtt::connect(&node, V5).await;
    sensor.publish("kept", b"0").await;
    reader.expect("kept", b"0").await;
}

/// MQTT-3.3.4-9: not more than the receive maximum of the client are unacknowledged; MQTT-4.6.0-6: in order.
#[tokio::test]
async fn publications_beyond_the_receive_maximum_wait_for_acknowledgements() {
    let node = Node::standalone(&[HISTORY]).await;
    let connect = Connect { properties: vec![0x21, 0, 2], ..Connect::new(V5) };
    let mut reader = Mqtt::connect_with(&node, &connect).await;
    assert_eq!(reader.subscribe(&[("kept", 1)]).await, [1]);
    let mut sensor = Mqtt::connect(&node, V3).await;
    for number in 0..5u8 {
        sensor.publish_as(0x02, "kept", 1, &[b'0' + number]).await;
        assert_eq!(sensor.receive().await.first, 0x40);
    }
    let first = reader.expect_once("kept", b"0").await;
    let second = reader.expect_once("kept", b"1").await;
    assert_ne!(first, second);
    reader.quiet().await;
    reader.acknowledge(second).await;
    let third = reader.expect_once("kept", b"2").await;
    reader.acknowledge(second).await;
    reader.acknowledge(first).await;
    reader.acknowledge(third).await;
    reader.expect_once("kept", b"3").await;
    reader.expect_once("kept", b"4").await;
    reader.quiet().await;
}

/// A client that acknowledges nothing is told so, and others are served.
#[tokio::test]
async fn an_mqtt_client_that_acknowledges_nothing_is_disconnected_alone() {
    let node = Node::standalone(&[HISTORY]).await;
    let connect = Connect { properties: vec![0x21, 0, 1], ..Connect::new(V5) };
    let mut silent = Mqtt::connect_with(&node, &connect).await;
    let mut reader = Mqtt::connect(&node, V3).await;
    for mqtt in [&mut silent, &mut reader] {
        assert_eq!(mqtt.subscribe(&[("kept", 1)]).await, [1]);
    }
    let mut sensor = Mqtt::connect(&node, V3).await;
    let payload = vec![b'x'; 60_000];
    for _ in 0..20 {
        sensor.publish_as(0x02, "kept", 1, &payload).await;
        assert_eq!(sensor.receive().await.first, 0x40);
        let id = reader.expect_once("kept", &payload).await;
        reader.acknowledge(id).await;
    }
    silent.expect_once("kept", &payload).await;
    let last = silent.receive().await;
    assert_eq!((last.first, last.body[0]), (0xe0, 0x97), "{last:?}");
}

/// MQTT-3.8.4-3: a subscription is replaced, and nothing is lost or sent twice.
#[tokio::test]
async fn a_repeated_subscription_of_qos_1_loses_and_repeats_nothing() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut reader = Mqtt::connect(&node, V5).await;
    let mut sensor = Mqtt::connect(&node, V3).await;
    assert_eq!(reader.subscribe(&[("kept", 1)]).await, [1]);
    for number in 0..20u8 {
        sensor.publish_as(0x02, "kept", 1, &[number]).await;
        reader
            .send(&super::client::packet(0x82, &[0, 9, 0, 0, 4, b'k', b'e', b'p', b't', 1]))
            .await;
    }
    let mut numbers = Vec::new();
    while numbers.len() < 20 {
        let packet = reader.receive().await;
        if packet.first == 0x32 {
            let id = u16::from_be_bytes([packet.body[6], packet.body[7]]);
            numbers.push(packet.body[packet.body.len() - 1]);
            reader.acknowledge(id).await;
        }
    }
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
}

/// MQTT-3.3.4-3: with the identifier of its subscription.
#[tokio::test]
async fn publications_have_the_identifier_of_their_subscription() {
    let node = Node::standalone(&[]).await;
    let mut reader = Mqtt::connect(&node, V5).await;
    assert_eq!(reader.subscribe_with(&[0x0b, 0x80, 0x01], "a", 0).await, 0);
    assert_eq!(reader.subscribe_with(&[], "b", 0).await, 0);
    reader.publish("a", b"1").await;
    let packet = reader.receive().await;
    assert_eq!(packet.body, [0, 1, b'a', 3, 0x0b, 0x80, 0x01, b'1']);
    reader.publish("b", b"1").await;
    reader.expect("b", b"1").await;
}

/// MQTT-3.1.2-24 and MQTT-3.1.2-25.
#[tokio::test]
async fn a_packet_that_is_larger_than_the_client_takes_is_left_out() {
    let node = Node::standalone(&[]).await;
    let connect = Connect { properties: vec![0x27, 0, 0, 0, 100], ..Connect::new(V5) };
    let mut reader = Mqtt::connect_with(&node, &connect).await;
    assert_eq!(reader.subscribe(&[("a", 0)]).await, [0]);
    let mut sensor = Mqtt::connect(&node, V3).await;
    // Two bytes of fixed header, three of the topic, one for properties.
    sensor.publish("a", &[b'x'; 95]).await;
    sensor.publish("a", &[b'x'; 94]).await;
    reader.expect("a", &[b'x'; 94]).await;
}
