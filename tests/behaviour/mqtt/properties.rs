//! What MQTT 5 says beside payloads.

use testkit::fleet::{Broker, for_simple_brokers};
use testkit::node::Node;

use super::HISTORY;
use super::client::{Mqtt, Packet, V3, V5, text};

for_simple_brokers!(the_properties_of_a_publication_reach_mqtt_5_subscribers_of_another_node);

/// Each as it is in a packet, in the order in which the node writes them.
fn properties() -> Vec<u8> {
    [
        &[0x01, 1][..],
        &[0x03],
        &text("text/plain"),
        &[0x08],
        &text("replies/1"),
        &[0x09, 0, 2, 0xff, 0x00],
        &[0x26],
        &text("unit"),
        &text("°C"),
        &[0x26],
        &text("unit"),
        &text("again"),
    ]
    .concat()
}

/// MQTT-3.3.2-4, MQTT-3.3.2-15 to MQTT-3.3.2-18, MQTT-3.3.2-20: unchanged and in order.
async fn the_properties_of_a_publication_reach_mqtt_5_subscribers_of_another_node(broker: Broker) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    for topic in ["kept/a", "live/a"] {
        let mut v5 = Mqtt::subscribed(b, V5, topic).await;
        let mut v3 = Mqtt::subscribed(b, V3, topic).await;
        let mut sensor = Mqtt::connect(a, V5).await;
        sensor.publish_with(&properties(), topic, b"21").await;
        let properties = properties();
        let body = [&text(topic), &[properties.len() as u8][..], &properties, b"21"].concat();
        assert_eq!(v5.receive().await, Packet { first: 0x30, body });
        v3.expect(topic, b"21").await;
    }
}

/// MQTT-3.3.2-6: what is left of the expiry; MQTT-3.3.2-5: nothing is sent after it.
#[tokio::test]
async fn a_message_that_has_expired_is_not_sent() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut reader = Mqtt::subscribed(&node, V5, "kept").await;
    let mut sensor = Mqtt::connect(&node, V5).await;
    sensor.publish_with(&[0x02, 0, 0, 0, 1], "kept", b"1").await;
    let packet = reader.receive().await;
    assert_eq!(packet.body, [&text("kept"), &[5, 0x02, 0, 0, 0, 1][..], b"1"].concat());
    loop {
        let mut late = Mqtt::connect(&node, V5).await;
        assert_eq!(late.subscribe(&[("kept", 0)]).await, [0]);
        late.send(&[0xc0, 0]).await;
        // Retained until it has expired.
        if late.receive().await.first == 0xd0 {
            break;
        }
    }
}

#[tokio::test]
async fn too_many_properties_are_refused_for_that_packet_only() {
    let node = Node::standalone(&[]).await;
    let mut sensor = Mqtt::connect(&node, V5).await;
    let long = [&[0x26][..], &text("name"), &text(&"x".repeat(3000))].concat();
    let length = super::client::length(long.len());
    let body = [&text("a"), &[0, 7][..], &length, &long, b"1"].concat();
    sensor.send(&super::client::packet(0x32, &body)).await;
    let refused = sensor.receive().await;
    assert_eq!((refused.first, refused.body[2]), (0x40, 0x83));
    sensor.quiet().await;
}

/// MQTT-3.3.2-8 and MQTT-3.3.2-12.
#[tokio::test]
async fn a_topic_alias_stands_for_a_topic() {
    let node = Node::standalone(&[]).await;
    let mut reader = Mqtt::subscribed(&node, V5, "site/1").await;
    let mut sensor = Mqtt::connect(&node, V5).await;
    sensor.publish_with(&[0x23, 0, 1], "site/1", b"1").await;
    sensor.publish_with(&[0x23, 0, 1], "", b"2").await;
    sensor.publish_with(&[0x23, 0, 1], "site/2", b"other").await;
    sensor.publish_with(&[0x23, 0, 1], "", b"other").await;
    sensor.publish_with(&[0x23, 0, 2], "site/1", b"3").await;
    for payload in [b"1", b"2", b"3"] {
        reader.expect("site/1", payload).await;
    }
    sensor.publish_with(&[0x23, 0, 33], "site/1", b"1").await;
    assert_eq!(sensor.disconnected().await, 0x94);
    let mut sensor = Mqtt::connect(&node, V5).await;
    sensor.publish_with(&[0x23, 0, 1], "", b"1").await;
    assert_eq!(sensor.disconnected().await, 0x82);
}

#[tokio::test]
async fn a_payload_that_is_said_to_be_utf8_and_is_not_ends_the_connection() {
    let node = Node::standalone(&[]).await;
    let mut sensor = Mqtt::connect(&node, V5).await;
    sensor.publish_with(&[0x01, 1], "a", b"\xff").await;
    assert_eq!(sensor.disconnected().await, 0x99);
}
