//! The same idempotency key is published once, so that a publisher may try again.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::eventually;
use testkit::fleet::{Broker, Fleet, for_every_broker};
use testkit::node::Node;
use testkit::token::{self, KEYS};

use super::{Position, RULES, publication, publish, subscribe};

for_every_broker!(
    a_key_is_published_once_on_whichever_node,
    tries_at_the_same_time_are_one,
    a_key_holds_for_its_channel,
    a_key_holds_for_its_publisher,
    a_key_holds_whatever_braces_the_channels_name_has,
    a_key_is_forgotten_after_the_window,
);

/// The same rules, for those who have a token and those who have none.
const OPEN: &str = r#"rules=[
    {pattern="h:*",history={size=50,age="10m"},subscribe="anyone",publish="anyone"},
    {pattern="**",subscribe="anyone",publish="anyone"}]"#;

/// A connection of this user.
async fn of_user(node: &Node, user: &str) -> Client {
    let path = format!("/ws?token={}", token::for_user(user, &[]));
    Client::open(node, &path).await.with_welcome().await
}

/// What is heard of ada's.
fn of_ada(data: impl Into<Value>, position: Position) -> Value {
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

async fn a_key_is_published_once_on_whichever_node(broker: Broker) {
    let fleet = broker.fleet(&[OPEN, KEYS]).await;
    let [a, b] = fleet.nodes();
    let (mut here, mut there) = (of_user(a, "ada").await, of_user(b, "ada").await);
    let before = subscribe(&mut there, "h:1").await;
    let first = here.request(keyed("h:1", "k", 1)).await;
    let due = json!({"type": "published", "id": 2, "position": before.plus(1).to_string()});
    assert_eq!(first, due);
    assert_eq!(here.request(keyed("h:1", "k", "again")).await, first);
    assert_eq!(there.request(keyed("h:1", "k", "elsewhere")).await, first);
    // Another one is new, also where it only looks alike.
    for (number, key) in [(2, "K"), (3, "k "), (4, " k"), (5, "kk")] {
        assert_eq!(
            Position::of(&here.request(keyed("h:1", key, number)).await),
            before.plus(number)
        );
    }
    // One without a key is always new.
    assert_eq!(publish(&mut here, "h:1", 6).await, before.plus(6));
    assert_eq!(publish(&mut here, "h:1", 7).await, before.plus(7));
    for number in 1..=7 {
        assert_eq!(there.event().await, of_ada(number, before.plus(number)));
    }
}

async fn tries_at_the_same_time_are_one(broker: Broker) {
    let fleet = broker.fleet(&[OPEN, KEYS]).await;
    let [a, b] = fleet.nodes();
    let mut listener = Client::json(b).await;
    let before = subscribe(&mut listener, "h:1").await;
    let mut publishers = Vec::new();
    for number in 0..10 {
        publishers.push(of_user([a, b][number % 2], "ada").await);
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
        assert_eq!(listener.event().await, of_ada(turn, before.plus(turn)));
    }
}

async fn a_key_holds_for_its_channel(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut one, mut two) = (Client::json(a).await, Client::json(b).await);
    let (first, second) = (subscribe(&mut one, "h:1").await, subscribe(&mut two, "h:2").await);
    assert_eq!(Position::of(&one.request(keyed("h:1", "k", 1)).await), first.plus(1));
    assert_eq!(Position::of(&one.request(keyed("h:2", "k", 1)).await), second.plus(1));
    assert_eq!(two.event().await, publication("h:2", 1, second.plus(1)));
}

async fn a_key_holds_for_its_publisher(broker: Broker) {
    let fleet = broker.fleet(&[OPEN, KEYS]).await;
    let [a, b] = fleet.nodes();
    let before = subscribe(&mut Client::json(a).await, "h:1").await;
    // Two users, one whose name and key together read like another's, and two who have no name.
    let mut publishers = [
        (of_user(a, "ada").await, "order-42"),
        (of_user(b, "bo").await, "order-42"),
        (of_user(a, "ada order").await, "-42"),
        (Client::json(a).await, "order-42"),
        (Client::json(b).await, "order-42"),
    ];
    for _ in 0..2 {
        for (number, (publisher, key)) in (1..).zip(&mut publishers) {
            let answer = publisher.request(keyed("h:1", key, number)).await;
            assert_eq!(Position::of(&answer), before.plus(number));
        }
    }
    let answer = of_user(b, "ada").await.request(keyed("h:1", "order-42", "again")).await;
    assert_eq!(Position::of(&answer), before.plus(1));
}

async fn a_key_holds_whatever_braces_the_channels_name_has(broker: Broker) {
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
        // One with a brace of its own in the key.
        for key in ["k", "{k}", "}"] {
            let first = client.request(keyed(&channel, key, 1)).await;
            assert_eq!(first["type"], "published", "{channel} {key}: {first}");
            assert_eq!(client.request(keyed(&channel, key, 2)).await, first, "{channel} {key}");
        }
    }
}

#[tokio::test]
async fn services_have_their_own_keys() {
    let fleet = Fleet::redis(&[OPEN, KEYS]).await;
    let [a, _] = fleet.nodes();
    let before = subscribe(&mut Client::json(a).await, "h:1").await;
    let service = async |header: &str| {
        let command = ["FCALL", "tidegate_publish", "1", "tidegate:h:1", "1", header];
        Position::parse(&fleet.server().query::<String>(&command).await)
    };
    let mut ada = of_user(a, "ada").await;
    let of_ada = Position::of(&ada.request(keyed("h:1", "k", 1)).await);
    assert_eq!(of_ada, before.plus(1));
    assert_eq!(service(r#"{"id":"k"}"#).await, before.plus(2));
    assert_eq!(service(r#"{"id":"k"}"#).await, before.plus(2));
    assert_eq!(service(r#"{"id":"k","user":"bo"}"#).await, before.plus(3));
    // A service that speaks for a user takes up what the user began.
    assert_eq!(service(r#"{"id":"k","user":"ada"}"#).await, of_ada);
}

async fn a_key_is_forgotten_after_the_window(broker: Broker) {
    let fleet = broker.fleet(&[RULES, "history.idempotency_window=1s"]).await;
    let [a, _] = fleet.nodes();
    let mut client = Client::json(a).await;
    let first = Position::of(&client.request(keyed("h:1", "k", 1)).await);
    let again = eventually("a key to be forgotten", async || {
        let position = Position::of(&client.request(keyed("h:1", "k", 2)).await);
        (position != first).then_some(position)
    })
    .await;
    assert_eq!(again, first.plus(1));
}
