//! Every publication of a channel with history carries its position.

use serde_json::{Value, json};
use testkit::client::{self, Client};
use testkit::fleet::{Broker, for_every_broker};

use super::{Position, RULES, publication, publish, subscribe};

for_every_broker!(
    positions_grow_by_one_and_are_the_same_for_all_subscribers,
    each_channel_has_its_own_sequence_of_positions,
    publications_of_channels_without_history_carry_no_position,
    a_publication_through_the_api_returns_its_position,
    a_publication_that_a_service_repeats_through_the_api_with_its_key_is_published_once,
);

async fn positions_grow_by_one_and_are_the_same_for_all_subscribers(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut client_a, mut client_b) = (Client::json(a).await, Client::json(b).await);
    let before = subscribe(&mut client_a, "h:1").await;
    assert_eq!(subscribe(&mut client_b, "h:1").await, before);
    for number in 1..=20 {
        let publisher = if number % 2 == 0 { &mut client_a } else { &mut client_b };
        let position = publish(publisher, "h:1", number).await;
        assert_eq!(position, before.plus(number));
    }
    for number in 1..=20 {
        let expected = publication("h:1", number, before.plus(number));
        assert_eq!(client_a.event().await, expected);
        assert_eq!(client_b.event().await, expected);
    }
    let mut late = Client::json(b).await;
    assert_eq!(subscribe(&mut late, "h:1").await, before.plus(20));
    assert_eq!(publish(&mut client_a, "h:1", 21).await, before.plus(21));
    assert_eq!(late.event().await, publication("h:1", 21, before.plus(21)));
}

async fn each_channel_has_its_own_sequence_of_positions(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut client_a, mut client_b) = (Client::json(a).await, Client::json(b).await);
    let (one, two) =
        (publish(&mut client_a, "h:1", 1).await, publish(&mut client_a, "h:2", 1).await);
    assert_eq!(publish(&mut client_b, "h:1", 2).await, one.plus(1));
    assert_eq!(publish(&mut client_b, "h:2", 2).await, two.plus(1));
}

async fn publications_of_channels_without_history_carry_no_position(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut subscriber = Client::subscribed(a, "news").await;
    let mut publisher = Client::json(b).await;
    publisher.publish("news", json!(1)).await;
    assert_eq!(subscriber.event().await, client::publication("news", 1));
    // One segment more than the rule's pattern has.
    subscriber.subscribe("h:1:2").await;
    publisher.publish("h:1:2", json!(2)).await;
    assert_eq!(subscriber.event().await, client::publication("h:1:2", 2));
}

async fn a_publication_through_the_api_returns_its_position(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut subscriber = Client::json(a).await;
    let before = subscribe(&mut subscriber, "h:1").await;
    let response = b.post("/api/publish/h:1", &[], br#"{"n":1}"#).await;
    assert_eq!(response.status, 202);
    assert_eq!(response.json(), json!({"position": before.plus(1).to_string()}));
    let expected = publication("h:1", json!({"n": 1}), before.plus(1));
    assert_eq!(subscriber.event().await, expected);

    let bytes = [("Content-Type", "application/octet-stream")];
    let response = b.post("/api/publish/h:1", &bytes, b"\xFF").await;
    assert_eq!(Position::of(&response.json()), before.plus(2));
    assert_eq!(subscriber.event().await["base64"], "/w==");

    let response = b.post("/api/publish/news", &[], b"1").await;
    assert_eq!((response.status, &response.json()["position"]), (202, &Value::Null));
}

async fn a_publication_that_a_service_repeats_through_the_api_with_its_key_is_published_once(
    broker: Broker,
) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut subscriber = Client::json(a).await;
    let before = subscribe(&mut subscriber, "h:1").await;
    for (node, key, payload, seq) in [(a, "k1", 1, 1), (b, "k1", 1, 1), (b, "k2", 2, 2)] {
        let body = payload.to_string();
        let headers = [("Idempotency-Key", key)];
        let response = node.post("/api/publish/h:1", &headers, body.as_bytes()).await;
        assert_eq!(Position::of(&response.json()), before.plus(seq), "{key}");
    }
    for seq in 1..=2 {
        assert_eq!(subscriber.event().await, publication("h:1", seq, before.plus(seq)));
    }
    for headers in [&[("Idempotency-Key", "")][..], &[("Idempotency-Key", "a"); 2]] {
        let response = a.post("/api/publish/h:1", headers, b"3").await;
        let message = response.json()["error"]["message"].clone();
        assert_eq!(response.status, 400, "{headers:?}");
        assert!(message.as_str().is_some_and(|it| it.contains("1 to 255 bytes")), "{message}");
    }
}
