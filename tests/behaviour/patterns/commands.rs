//! The commands about patterns: what they allow and refuse.

use serde_json::{Value, json};
use testkit::client::{Client, publication};
use testkit::fleet::{Broker, for_simple_brokers};

use super::{RULES, subscribe, subscribed};

for_simple_brokers!(
    a_pattern_outside_the_rules_with_patterns_is_forbidden,
    a_session_has_at_most_patterns_max_patterns,
    a_publisher_gets_its_own_publications_by_a_pattern_unless_it_subscribed_without_echo,
    after_unsubscribed_a_pattern_gets_nothing_more,
);

async fn a_pattern_outside_the_rules_with_patterns_is_forbidden(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let mut client = Client::json(fleet.nodes()[0]).await;
    for pattern in ["**", "other:*", "orders*", "o*:x"] {
        let refused =
            client.request(json!({"type": "subscribe", "id": 7, "pattern": pattern})).await;
        assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("forbidden")));
    }
    for (command, part) in [
        (json!({"type": "subscribe", "id": 8, "pattern": "orders:*", "since": "1-1"}), "no since"),
        (json!({"type": "subscribe", "id": 8, "pattern": "orders:*", "channel": "a"}), "one of"),
        (json!({"type": "subscribe", "id": 8, "pattern": "orders:{user}"}), "braces"),
        (json!({"type": "subscribe", "id": 8, "pattern": "orders:*a*b*c:x"}), "wildcards"),
    ] {
        let refused = client.request(command).await;
        assert_eq!(refused["code"], "bad_request", "{refused}");
        assert!(refused["message"].as_str().unwrap().contains(part), "{refused}");
    }
}

async fn a_session_has_at_most_patterns_max_patterns(broker: Broker) {
    let fleet = broker.fleet(&[RULES, "session.patterns_max=2"]).await;
    let mut client = subscribed(fleet.nodes()[0], "orders:a").await;
    subscribe(&mut client, "orders:b").await;
    subscribe(&mut client, "orders:b").await;
    let third = json!({"type": "subscribe", "id": 2, "pattern": "orders:c"});
    let refused = client.request(third.clone()).await;
    assert_eq!(refused["code"], "limit_reached", "{refused}");
    client.request(json!({"type": "unsubscribe", "id": 3, "pattern": "orders:b"})).await;
    assert_eq!(client.request(third).await["type"], "subscribed");
}

async fn a_publisher_gets_its_own_publications_by_a_pattern_unless_it_subscribed_without_echo(
    broker: Broker,
) {
    let fleet = broker.fleet(&[RULES]).await;
    let mut client = subscribed(fleet.nodes()[0], "orders:*").await;
    client.publish("orders:1", json!(1)).await;
    assert_eq!(client.event().await, publication("orders:1", 1));
    let mut quiet = Client::json(fleet.nodes()[0]).await;
    let without = json!({"type": "subscribe", "id": 1, "pattern": "orders:*", "echo": false});
    assert_eq!(quiet.request(without).await["type"], "subscribed");
    quiet.publish("orders:1", json!(2)).await;
    client.publish("orders:1", json!(3)).await;
    assert_eq!(quiet.event().await, publication("orders:1", 3));
}

async fn after_unsubscribed_a_pattern_gets_nothing_more(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let mut client = subscribed(fleet.nodes()[0], "orders:*").await;
    let unsubscribe = json!({"type": "unsubscribe", "id": 2, "pattern": "orders:*"});
    let expected = json!({"type": "unsubscribed", "id": 2, "pattern": "orders:*"});
    assert_eq!(client.request(unsubscribe).await, expected);
    client.publish("orders:1", json!(1)).await;
    let pong = client.request(json!({"type": "ping", "id": 3})).await;
    assert_eq!(pong, json!({"type": "pong", "id": 3}));
    client.subscribe("orders:1").await;
    client.publish("orders:1", json!(2)).await;
    let event: Value = client.event().await;
    assert_eq!(event, publication("orders:1", 2));
}
