//! Topic filters with `+` and `#`.

use serde_json::json;
use testkit::client::Client;
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::node::Node;

use super::client::{Mqtt, V3, V5};

for_simple_brokers!(wildcards_select_topics_of_another_node);

const PATTERNS: &str = r#"rules=[{pattern="site/secret",subscribe="nobody",publish="anyone",patterns=true},{pattern="**",subscribe="anyone",publish="anyone",patterns=true}]"#;

/// MQTT-4.7.1-1 to MQTT-4.7.2-1. A filter never shows more than its client may read.
async fn wildcards_select_topics_of_another_node(broker: Broker) {
    let fleet = broker.fleet(&[PATTERNS]).await;
    let [a, b] = fleet.nodes();
    for level in [V3, V5] {
        let mut below = Mqtt::connect(b, level).await;
        let mut within = Mqtt::connect(b, level).await;
        assert_eq!(below.subscribe(&[("site/#", 0)]).await, [0]);
        assert_eq!(within.subscribe(&[("site/+/on", 1)]).await, [0]);
        let mut json = Client::json(a).await;
        for topic in ["site", "other", "site/secret", "site/1/on", "site/1/2/on"] {
            json.publish(topic, json!(1)).await;
        }
        for topic in ["site", "site/1/on", "site/1/2/on"] {
            below.expect(topic, b"1").await;
        }
        within.expect("site/1/on", b"1").await;
        let codes = below.unsubscribe("site/#").await;
        assert!(codes.iter().all(|code| *code == 0), "{codes:?}");
        json.publish("site/1/on", json!(2)).await;
        within.expect("site/1/on", b"2").await;
        below.quiet().await;
    }
}

/// MQTT-4.7.1-1 and MQTT-4.7.1-2.
#[tokio::test]
async fn wildcards_stand_for_whole_levels() {
    let node = Node::standalone(&[PATTERNS]).await;
    let mut mqtt = Mqtt::connect(&node, V5).await;
    let filters = [("a+", 0), ("a/#/b", 0), ("a#", 0), ("+/#", 0)];
    assert_eq!(mqtt.subscribe(&filters).await, [0x8f, 0x8f, 0x8f, 0]);
    assert_eq!(mqtt.subscribe_with(&[0x0b, 1], "a/+", 0).await, 0xa1);
    assert_eq!(mqtt.unsubscribe("a/+").await, [0x11]);
}
