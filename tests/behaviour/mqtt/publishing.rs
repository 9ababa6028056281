//! Publications of QoS 1 and 2, and refused ones.

use testkit::node::Node;

use super::client::{Mqtt, Packet, V3, V5};

const RULES: &str = r#"rules=[{pattern="secret",subscribe="nobody",publish="nobody"}]"#;

fn ack(first: u8, packet_id: u8) -> Packet {
    Packet { first, body: vec![0, packet_id] }
}

/// MQTT-4.3.2-4: PUBACK after the broker has the publication.
#[tokio::test]
async fn a_publication_of_qos_1_is_acknowledged_and_delivered() {
    let node = Node::standalone(&[]).await;
    for level in [V3, V5] {
        let mut reader = Mqtt::subscribed(&node, level, "news").await;
        let mut mqtt = Mqtt::connect(&node, level).await;
        mqtt.publish_as(0x02, "news", 5, b"1").await;
        assert_eq!(mqtt.receive().await, ack(0x40, 5));
        reader.expect("news", b"1").await;
    }
}

/// MQTT-4.3.3-10: a publication that is sent again before its release is delivered once.
#[tokio::test]
async fn a_publication_of_qos_2_takes_four_packets_and_is_delivered_once() {
    let node = Node::standalone(&[]).await;
    for level in [V3, V5] {
        let mut reader = Mqtt::subscribed(&node, level, "news").await;
        let mut mqtt = Mqtt::connect(&node, level).await;
        mqtt.publish_as(0x04, "news", 5, b"1").await;
        assert_eq!(mqtt.receive().await, ack(0x50, 5));
        mqtt.publish_as(0x0c, "news", 5, b"1").await;
        assert_eq!(mqtt.receive().await, ack(0x50, 5));
        mqtt.send(&[0x62, 2, 0, 5]).await;
        assert_eq!(mqtt.receive().await, ack(0x70, 5));
        mqtt.publish_as(0x04, "news", 5, b"2").await;
        assert_eq!(mqtt.receive().await, ack(0x50, 5));
        reader.expect("news", b"1").await;
        reader.expect("news", b"2").await;
        reader.quiet().await;
    }
}

/// MQTT-3.3.5-2: MQTT 3.1.1 has no way to say that a publication is refused.
#[tokio::test]
async fn a_refused_publication_has_its_reason_in_mqtt_5_and_is_acknowledged_in_mqtt_3() {
    let node = Node::standalone(&[RULES]).await;
    let mut v3 = Mqtt::connect(&node, V3).await;
    let mut v5 = Mqtt::connect(&node, V5).await;
    for (topic, reason) in [("secret", 0x87), ("a b", 0x90)] {
        for (flags, acknowledgement) in [(0x02, 0x40), (0x04, 0x50)] {
            v3.publish_as(flags, topic, 9, b"1").await;
            assert_eq!(v3.receive().await, ack(acknowledgement, 9));
            v5.publish_as(flags, topic, 9, b"1").await;
            let refused = v5.receive().await;
            assert_eq!((refused.first, refused.body[2]), (acknowledgement, reason), "{topic}");
        }
        for mqtt in [&mut v3, &mut v5] {
            mqtt.publish(topic, b"QoS 0 is dropped").await;
            mqtt.quiet().await;
        }
    }
}

/// MQTT-3.3.2-2.
#[tokio::test]
async fn a_topic_with_a_wildcard_ends_the_connection() {
    let node = Node::standalone(&[]).await;
    let mut v5 = Mqtt::connect(&node, V5).await;
    v5.publish("a/+", b"1").await;
    assert_eq!(v5.disconnected().await, 0x90);
}
