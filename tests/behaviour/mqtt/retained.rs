//! What is retained: the last publication of a channel with history.

use serde_json::json;
use testkit::client::Client;
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::node::Node;

use super::HISTORY;
use super::client::{Mqtt, Packet, V3, V5, text};

for_simple_brokers!(a_new_mqtt_subscriber_gets_the_last_publication_as_retained);

/// MQTT-3.3.1-6 and MQTT-3.3.1-8 of MQTT 3.1.1, MQTT-3.3.1-9 of MQTT 5.
async fn a_new_mqtt_subscriber_gets_the_last_publication_as_retained(broker: Broker) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let mut sensor = Mqtt::connect(a, V3).await;
    for payload in [b"20", b"21"] {
        sensor.publish_as(0x03, "temperature", 1, payload).await;
        assert_eq!(sensor.receive().await.first, 0x40);
    }
    for level in [V3, V5] {
        let mut reader = Mqtt::connect(b, level).await;
        assert_eq!(reader.subscribe(&[("temperature", 0)]).await, [0]);
        let retained = [&text("temperature"), reader.no_properties(), b"21"].concat();
        assert_eq!(reader.receive().await, Packet { first: 0x31, body: retained });
        // An established subscription gets it without RETAIN.
        sensor.publish_as(0x03, "temperature", 1, b"21").await;
        assert_eq!(sensor.receive().await.first, 0x40);
        reader.expect("temperature", b"21").await;
    }
    let mut reader = Mqtt::connect(b, V5).await;
    assert_eq!(reader.subscribe(&[("temperature", 1)]).await, [1]);
    assert_eq!(reader.receive().await.first, 0x33, "QoS 1 and RETAIN");
}

#[tokio::test]
async fn a_publication_of_another_protocol_is_retained_too() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut json = Client::json(&node).await;
    let command = json!({"type": "publish", "id": 1, "channel": "lamp", "data": "on"});
    assert_eq!(json.request(command).await["type"], "published");
    let mut reader = Mqtt::subscribed(&node, V3, "lamp").await;
    let body = [text("lamp"), b"\"on\"".to_vec()].concat();
    assert_eq!(reader.receive().await, Packet { first: 0x31, body });
}

/// MQTT-3.3.1-6: an empty payload clears what is retained; subscribers get it as a publication.
#[tokio::test]
async fn an_empty_payload_clears_what_is_retained() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut sensor = Mqtt::connect(&node, V3).await;
    let mut early = Mqtt::subscribed(&node, V3, "lamp").await;
    for payload in [&b"on"[..], b""] {
        sensor.publish_as(0x03, "lamp", 1, payload).await;
        assert_eq!(sensor.receive().await.first, 0x40);
        early.expect("lamp", payload).await;
    }
    let mut late = Mqtt::subscribed(&node, V3, "lamp").await;
    late.quiet().await;
}

/// MQTT-3.3.1-9 to MQTT-3.3.1-13: retain handling and Retain As Published.
#[tokio::test]
async fn mqtt_5_clients_choose_when_they_get_what_is_retained() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut sensor = Mqtt::connect(&node, V5).await;
    sensor.publish_as(0x03, "lamp", 1, b"on").await;
    assert_eq!(sensor.receive().await.first, 0x40);
    let mut reader = Mqtt::connect(&node, V5).await;
    assert_eq!(reader.subscribe(&[("lamp", 0x20)]).await, [0]);
    reader.quiet().await;
    let mut reader = Mqtt::connect(&node, V5).await;
    assert_eq!(reader.subscribe(&[("lamp", 0x18)]).await, [0]);
    assert_eq!(reader.receive().await.first, 0x31, "a new subscription");
    assert_eq!(reader.subscribe(&[("lamp", 0x18)]).await, [0]);
    reader.quiet().await;
    assert_eq!(reader.subscribe(&[("lamp", 0x08)]).await, [0]);
    assert_eq!(reader.receive().await.first, 0x31, "always");
    sensor.publish_as(0x03, "lamp", 1, b"off").await;
    assert_eq!(reader.receive().await.first, 0x31, "as published");
    sensor.publish("lamp", b"off").await;
    assert_eq!(reader.receive().await.first, 0x30, "as published");
}

#[tokio::test]
async fn a_publisher_is_told_that_nothing_is_retained_where_no_history_is_kept() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut reader = Mqtt::subscribed(&node, V3, "live/a").await;
    let mut sensor = Mqtt::connect(&node, V5).await;
    sensor.publish_as(0x03, "live/a", 3, b"1").await;
    let answer = sensor.receive().await;
    let told = String::from_utf8_lossy(&answer.body);
    assert_eq!((answer.first, answer.body[2]), (0x40, 0));
    assert!(told.contains("not retained"), "{told}");
    reader.expect("live/a", b"1").await;
    Mqtt::subscribed(&node, V3, "live/a").await.quiet().await;
}
