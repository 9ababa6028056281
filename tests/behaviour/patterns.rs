//! Subscriptions to patterns of channels, with the json protocol.

mod access;
mod commands;
mod services;

use serde_json::json;
use testkit::client::{Client, publication};
use testkit::fleet::{Broker, for_every_broker};
use testkit::node::Node;

for_every_broker!(
    a_pattern_gets_the_publications_of_all_channels_that_match_from_any_node,
    a_session_subscribed_to_a_channel_and_to_patterns_of_it_gets_each_publication_once,
    a_session_moves_between_a_channel_and_its_pattern_without_loss_or_repetition,
    a_pattern_gets_the_publications_of_history_channels_in_order_with_their_positions,
    a_pattern_gets_the_end_of_a_run,
);

const RULES: &str = r#"rules=[{pattern="orders:**",patterns=true},{pattern="kept:**",patterns=true,history={size=1000,age="10m"}},{pattern="run:*",patterns=true,history={size=1000,age="10m"},run={lease="1h"}},{pattern="**"}]"#;

async fn subscribed(node: &Node, pattern: &str) -> Client {
    let mut client = Client::json(node).await;
    subscribe(&mut client, pattern).await;
    client
}

async fn subscribe(client: &mut Client, pattern: &str) {
    let answer = client.request(json!({"type": "subscribe", "id": 1, "pattern": pattern})).await;
    assert_eq!(answer, json!({"type": "subscribed", "id": 1, "pattern": pattern}));
}

/// Publishes numbers on the channel in order.
async fn publish_numbers(client: &mut Client, channel: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let publish = json!({"type": "publish", "id": 9, "channel": channel, "data": number});
        assert_eq!(client.request(publish).await["type"], "published");
    }
}

/// The next publications, without positions.
async fn numbers(client: &mut Client, channel: &str, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let event = client.event().await;
        assert_eq!(
            (&event["type"], &event["channel"]),
            (&json!("publication"), &json!(channel)),
            "{event}"
        );
        numbers.push(event["data"].as_u64().unwrap());
    }
    numbers
}

async fn a_pattern_gets_the_publications_of_all_channels_that_match_from_any_node(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut client = subscribed(a, "orders:eu:*").await;
    let mut publisher = Client::json(b).await;
    for channel in ["orders:us:1", "orders:eu:1:x", "orders:eu:1", "other", "orders:eu:2"] {
        publisher.publish(channel, json!(channel)).await;
    }
    assert_eq!(client.event().await, publication("orders:eu:1", "orders:eu:1"));
    assert_eq!(client.event().await, publication("orders:eu:2", "orders:eu:2"));
    assert_eq!(a.metric("tidegate_patterns").await, 1.);
    client.close().await;
    a.wait_for_metric("tidegate_patterns", 0.).await;
}

async fn a_session_subscribed_to_a_channel_and_to_patterns_of_it_gets_each_publication_once(
    broker: Broker,
) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut client = subscribed(a, "orders:eu:*").await;
    subscribe(&mut client, "orders:**").await;
    subscribe(&mut client, "orders:*:1").await;
    client.subscribe("orders:eu:1").await;
    let mut publisher = Client::json(b).await;
    publish_numbers(&mut publisher, "orders:eu:1", 0..20).await;
    publish_numbers(&mut publisher, "orders:eu:2", 0..1).await;
    let expected: Vec<u64> = (0..20).collect();
    assert_eq!(numbers(&mut client, "orders:eu:1", 20).await, expected);
    assert_eq!(numbers(&mut client, "orders:eu:2", 1).await, [0]);
}

async fn a_session_moves_between_a_channel_and_its_pattern_without_loss_or_repetition(
    broker: Broker,
) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    for channel in ["orders:eu:1", "kept:eu:1"] {
        let pattern = channel.replace('1', "*");
        let mut client = subscribed(a, &pattern).await;
        let mut publisher = Client::json(b).await;
        let publishing = tokio::spawn(async move {
            publish_numbers(&mut publisher, channel, 0..2000).await;
        });
        for id in 100..120 {
            let answer =
                client.request(json!({"type": "subscribe", "id": id, "channel": channel})).await;
            assert_eq!(answer["type"], "subscribed", "{answer}");
            // On Redis the node unsubscribes a second after the last subscriber.
            tokio::time::sleep(std::time::Duration::from_millis(id % 3 * 20)).await;
            client.request(json!({"type": "unsubscribe", "id": id, "channel": channel})).await;
        }
        let expected: Vec<u64> = (0..2000).collect();
        assert_eq!(numbers(&mut client, channel, 2000).await, expected);
        publishing.await.unwrap();
    }
}

async fn a_pattern_gets_the_publications_of_history_channels_in_order_with_their_positions(
    broker: Broker,
) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut client = subscribed(a, "kept:*").await;
    let mut publisher = Client::json(b).await;
    let mut positions = Vec::new();
    for number in 0..10 {
        let publish = json!({"type": "publish", "id": 9, "channel": "kept:1", "data": number});
        positions.push(publisher.request(publish).await["position"].clone());
    }
    for (number, position) in positions.iter().enumerate() {
        let event = client.event().await;
        assert_eq!((&event["data"], &event["position"]), (&json!(number), position), "{event}");
    }
    // A client resumes by the position that it has.
    let since = json!({"type": "subscribe", "id": 3, "channels": {"kept:1": positions[4]}});
    let mut other = Client::json(a).await;
    let answer = other.request(since).await;
    assert_eq!((&answer["type"], &answer["recovered"]), (&json!("subscribed"), &json!(true)));
    subscribe(&mut other, "kept:*").await;
    other.request(json!({"type": "unsubscribe", "id": 4, "channel": "kept:1"})).await;
    publish_numbers(&mut publisher, "kept:1", 10..12).await;
    assert_eq!(numbers(&mut other, "kept:1", 7).await, [5, 6, 7, 8, 9, 10, 11]);
}

async fn a_pattern_gets_the_end_of_a_run(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut client = subscribed(a, "run:*").await;
    let mut publisher = Client::json(b).await;
    publish_numbers(&mut publisher, "run:1", 0..1).await;
    assert_eq!(b.post("/api/end/run:1", &[], br#"{"reason":"done"}"#).await.status, 200);
    assert_eq!(numbers(&mut client, "run:1", 1).await, [0]);
    let ended = client.event().await;
    assert_eq!((&ended["type"], &ended["reason"]), (&json!("ended"), &json!("done")), "{ended}");
}
