//! A publication with an idempotency key is published once, so that a publisher may retry.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::eventually;
use testkit::fleet::{Broker, Fleet, for_every_broker};
use testkit::node::Node;
use testkit::token::{self, KEYS};

use super::{Position, RULES, publication, publish, subscribe};

for_every_broker!(
    an_idempotency_key_is_published_once_whichever_node_receives_it,
    simultaneous_publications_with_one_idempotency_key_are_published_once,
    an_idempotency_key_is_scoped_to_its_channel,
    an_idempotency_key_is_scoped_to_its_publisher,
    an_idempotency_key_of_a_client_without_a_user_works_after_a_reconnect,
    an_idempotency_key_works_with_braces_in_the_channel_name_and_the_key,
    an_idempotency_key_can_be_published_again_after_the_window,
);

/// The same rules, for clients with and without a token.
const OPEN_RULES: &str = r#"rules=[
    {pattern="h:*",history={size=50,age="10m"},subscribe="anyone",publish="anyone"},
    {pattern="**",subscribe="anyone",publish="anyone"}]"#;

/// A client authenticated as this user.
async fn client_of(node: &Node, user: &str) -> Client {
    let path = format!("/ws?token={}", token::for_user(user, &[]));
    Client::open(node, &path).await.with_welcome().await
}

/// The expected event for a publication of the user ada.
fn publication_of_ada(data: impl Into<Value>, position: Position) -> Value {
    let mut event = publication("h:1", data, position);
    event["user"] = "ada".into();
    event
}

fn keyed(channel: &str, key: &str, data: impl Into<Value>) -> Value {
    json!({
        "type": "publish", "id": 2, "channel": channel, "data": data.into(),
        "idempotency_key": key,
    })
}

async fn an_idempotency_key_is_published_once_whichever_node_receives_it(broker: Broker) {
    let fleet = broker.fleet(&[OPEN_RULES, KEYS]).await;
    let [a, b] = fleet.nodes();
    let (mut client_a, mut client_b) = (client_of(a, "ada").await, client_of(b, "ada").await);
    let before = subscribe(&mut client_b, "h:1").await;
    let first = client_a.request(keyed("h:1", "k", 1)).await;
    let expected = json!({"type": "published", "id": 2, "position": before.plus(1).to_string()});
    assert_eq!(first, expected);
    assert_eq!(client_a.request(keyed("h:1", "k", "again")).await, first);
    assert_eq!(client_b.request(keyed("h:1", "k", "elsewhere")).await, first);
    // Keys are compared byte by byte: each of these is a different key.
    for (number, key) in [(2, "K"), (3, "k "), (4, " k"), (5, "kk")] {
        assert_eq!(
            Position::of(&client_a.request(keyed("h:1", key, number)).await),
            before.plus(number)
        );
    }
    // Publications without a key are never deduplicated.
    assert_eq!(publish(&mut client_a, "h:1", 6).await, before.plus(6));
    assert_eq!(publish(&mut client_a, "h:1", 7).await, before.plus(7));
    for number in 1..=7 {
        assert_eq!(client_b.event().await, publication_of_ada(number, before.plus(number)));
    }
}

async fn simultaneous_publications_with_one_idempotency_key_are_published_once(broker: Broker) {
    let fleet = broker.fleet(&[OPEN_RULES, KEYS]).await;
    let [a, b] = fleet.nodes();
    let mut subscriber = Client::json(b).await;
    let before = subscribe(&mut subscriber, "h:1").await;
    let mut publishers = Vec::new();
    for number in 0..10 {
        publishers.push(client_of([a, b][number % 2], "ada").await);
    }
    for turn in 1..=20 {
        for publisher in &mut publishers {
            publisher.send_command(keyed("h:1", &format!("turn {turn}"), turn)).await;
        }
        for publisher in &mut publishers {
            assert_eq!(Position::of(&publisher.answer(2).await), before.plus(turn));
        }
    }
    for turn in 1..=20 {
        assert_eq!(subscriber.event().await, publication_of_ada(turn, before.plus(turn)));
    }
}

async fn an_idempotency_key_is_scoped_to_its_channel(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut one, mut two) = (Client::json(a).await, Client::json(b).await);
    let (first, second) = (subscribe(&mut one, "h:1").await, subscribe(&mut two, "h:2").await);
    assert_eq!(Position::of(&one.request(keyed("h:1", "k", 1)).await), first.plus(1));
    assert_eq!(Position::of(&one.request(keyed("h:2", "k", 1)).await), second.plus(1));
    assert_eq!(two.event().await, publication("h:2", 1, second.plus(1)));
}

async fn an_idempotency_key_is_scoped_to_its_publisher(broker: Broker) {
    let fleet = broker.fleet(&[OPEN_RULES, KEYS]).await;
    let [a, b] = fleet.nodes();
    let before = subscribe(&mut Client::json(a).await, "h:1").await;
    // Two users, a user whose name and key concatenate to another's, and a client without a user.
    let mut publishers = [
        (client_of(a, "ada").await, "order-42"),
        (client_of(b, "bo").await, "order-42"),
        (client_of(a, "ada order").await, "-42"),
        (Client::json(a).await, "order-42"),
    ];
    for _ in 0..2 {
        for (number, (publisher, key)) in (1..).zip(&mut publishers) {
            let answer = publisher.request(keyed("h:1", key, number)).await;
            assert_eq!(Position::of(&answer), before.plus(number));
        }
    }
    let answer = client_of(b, "ada").await.request(keyed("h:1", "order-42", "again")).await;
    assert_eq!(Position::of(&answer), before.plus(1));
}

async fn an_idempotency_key_of_a_client_without_a_user_works_after_a_reconnect(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let before = subscribe(&mut Client::json(a).await, "h:1").await;
    let key = "3b9f6a0e-4c1d-4f0a-9a51-0d8a8f6f2c11";
    for node in [a, b, a] {
        let answer = Client::json(node).await.request(keyed("h:1", key, 1)).await;
        assert_eq!(Position::of(&answer), before.plus(1));
    }
}

async fn an_idempotency_key_works_with_braces_in_the_channel_name_and_the_key(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, _] = fleet.nodes();
    let mut client = Client::json(a).await;
    let odd = (0..20).map(|number| format!("h:{number}}}")).chain([
        "h:{}".to_owned(),
        "h:{}{a}".to_owned(),
        "h:a}b{c".to_owned(),
        "h:}{".to_owned(),
        "h:{a}b".to_owned(),
        "h:{".to_owned(),
    ]);
    for channel in odd {
        // Keys with and without braces.
        for key in ["k", "{k}", "}"] {
            let first = client.request(keyed(&channel, key, 1)).await;
            assert_eq!(first["type"], "published", "{channel} {key}: {first}");
            assert_eq!(client.request(keyed(&channel, key, 2)).await, first, "{channel} {key}");
        }
    }
}

#[tokio::test]
async fn idempotency_keys_of_services_are_scoped_apart_from_those_of_users() {
    let fleet = Fleet::redis(&[OPEN_RULES, KEYS]).await;
    let [a, _] = fleet.nodes();
    let before = subscribe(&mut Client::json(a).await, "h:1").await;
    let service = async |header: &str| {
        let command = ["FCALL", "tidegate_publish", "1", "tidegate:h:1", "1", header];
        Position::parse(&fleet.server().query::<String>(&command).await)
    };
    let mut ada = client_of(a, "ada").await;
    let position_of_ada = Position::of(&ada.request(keyed("h:1", "k", 1)).await);
    assert_eq!(position_of_ada, before.plus(1));
    assert_eq!(service(r#"{"id":"k"}"#).await, before.plus(2));
    assert_eq!(service(r#"{"id":"k"}"#).await, before.plus(2));
    assert_eq!(service(r#"{"id":"k","user":"bo"}"#).await, before.plus(3));
    // A service that names a user shares that user's keys.
    assert_eq!(service(r#"{"id":"k","user":"ada"}"#).await, position_of_ada);
}

async fn an_idempotency_key_can_be_published_again_after_the_window(broker: Broker) {
    let fleet = broker.fleet(&[RULES, "history.idempotency_window=1s"]).await;
    let [a, _] = fleet.nodes();
    let mut client = Client::json(a).await;
    let first = Position::of(&client.request(keyed("h:1", "k", 1)).await);
    let again = eventually("a key to expire", async || {
        let position = Position::of(&client.request(keyed("h:1", "k", 2)).await);
        (position != first).then_some(position)
    })
    .await;
    assert_eq!(again, first.plus(1));
}
