//! What is published when a client is gone.

use serde_json::json;
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::node::Node;
use testkit::token::{KEYS, token};

use super::client::{Connect, Mqtt, V3, V5, text};

for_simple_brokers!(the_will_of_a_client_whose_connection_breaks_reaches_other_nodes);

fn with_will(level: u8) -> Connect {
    let properties: &[u8] = if level == V5 { &[0] } else { &[] };
    let rest = [properties, &text("gone"), &text("sensor 1")].concat();
    Connect { flags: 0x06, rest, ..Connect::new(level) }
}

/// MQTT-3.1.2-8.
async fn the_will_of_a_client_whose_connection_breaks_reaches_other_nodes(broker: Broker) {
    let fleet = broker.fleet(&[]).await;
    let [a, b] = fleet.nodes();
    let mut reader = Mqtt::subscribed(b, V3, "gone").await;
    for level in [V3, V5] {
        drop(Mqtt::connect_with(a, &with_will(level)).await);
        reader.expect("gone", b"sensor 1").await;
        // Also a client that violates the protocol.
        let mut broken = Mqtt::connect_with(a, &with_will(level)).await;
        broken.send(&[0x00, 0x00]).await;
        reader.expect("gone", b"sensor 1").await;
    }
}

/// MQTT-3.1.2-10 and MQTT-3.14.4-3.
#[tokio::test]
async fn a_client_that_disconnects_leaves_no_will_unless_it_says_so() {
    let node = Node::standalone(&[]).await;
    let mut reader = Mqtt::subscribed(&node, V3, "gone").await;
    for level in [V3, V5] {
        let mut mqtt = Mqtt::connect_with(&node, &with_will(level)).await;
        mqtt.send(&[0xe0, 0]).await;
        assert!(mqtt.is_closed().await);
    }
    reader.quiet().await;
    let mut mqtt = Mqtt::connect_with(&node, &with_will(V5)).await;
    mqtt.send(&[0xe0, 1, 0x04]).await;
    reader.expect("gone", b"sensor 1").await;
}

#[tokio::test]
async fn a_will_is_published_only_where_its_client_may() {
    let rules = r#"rules=[{pattern="**",subscribe="token",publish="token"}]"#;
    let node = Node::standalone(&[KEYS, rules]).await;
    let password = token(60., json!({"sub": "reader", "subscribe": ["gone"], "publish": ["gone"]}));
    let mut reader = Mqtt::connect_with(&node, &Connect::new(V3).password(&password)).await;
    assert_eq!(reader.subscribe(&[("gone", 0)]).await, [0]);
    let other = token(60., json!({"sub": "sensor", "publish": ["other"]}));
    drop(Mqtt::connect_with(&node, &with_will(V3).password(&other)).await);
    drop(Mqtt::connect_with(&node, &with_will(V3).password(&password)).await);
    reader.expect("gone", b"sensor 1").await;
    reader.quiet().await;
}

#[tokio::test]
async fn a_will_for_no_channel_is_refused_when_the_client_connects() {
    let node = Node::standalone(&[]).await;
    for (level, code) in [(V3, 5), (V5, 0x90)] {
        let properties: &[u8] = if level == V5 { &[0] } else { &[] };
        let rest = [properties, &text("a/+"), &text("x")].concat();
        let connect = Connect { flags: 0x06, rest, ..Connect::new(level) };
        let (mut mqtt, connack) = Mqtt::try_connect(&node, &connect).await;
        assert_eq!(connack.body[1], code);
        assert!(mqtt.is_closed().await);
    }
}
