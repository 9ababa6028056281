//! The same idempotency key is published once, so that a publisher may try again.

use serde_json::{Value, json};

use super::{Position, RULES, publication, publish, subscribe};
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::fleet::{Broker, of_every_broker};

of_every_broker!(
    a_key_is_published_once_on_whichever_node,
    tries_at_the_same_time_are_one,
    a_key_holds_for_its_channel,
    a_key_is_forgotten_after_the_window,
);

fn keyed(channel: &str, key: &str, data: impl Into<Value>) -> Value {
    json!({
        "type": "publish", "id": 2, "channel": channel, "data": data.into(),
        "idempotency_key": key,
    })
}

async fn a_key_is_published_once_on_whichever_node(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut here, mut there) = (Client::json(a).await, Client::json(b).await);
    let before = subscribe(&mut there, "h:1").await;
    let first = here.ask(keyed("h:1", "k", 1)).await;
    let due = json!({"type": "published", "id": 2, "position": before.plus(1).to_string()});
    assert_eq!(first, due);
    assert_eq!(here.ask(keyed("h:1", "k", "again")).await, first);
    assert_eq!(there.ask(keyed("h:1", "k", "elsewhere")).await, first);
    // Another one is new, also where it only looks alike.
    for (number, key) in [(2, "K"), (3, "k "), (4, " k"), (5, "kk")] {
        assert_eq!(Position::of(&here.ask(keyed("h:1", key, number)).await), before.plus(number));
    }
    // One without a key is always new.
    assert_eq!(publish(&mut here, "h:1", 6).await, before.plus(6));
    assert_eq!(publish(&mut here, "h:1", 7).await, before.plus(7));
    for number in 1..=7 {
        let due = publication("h:1", number, before.plus(number));
        assert_eq!(there.event().await, due);
    }
}

async fn tries_at_the_same_time_are_one(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut listener = Client::json(b).await;
    let before = subscribe(&mut listener, "h:1").await;
    let mut publishers = Vec::new();
    for number in 0..10 {
        publishers.push(Client::json([a, b][number % 2]).await);
    }
    for turn in 1..=20 {
        for publisher in &mut publishers {
            publisher.command(keyed("h:1", &format!("turn {turn}"), turn)).await;
        }
        for publisher in &mut publishers {
            assert_eq!(Position::of(&publisher.answer(2).await), before.plus(turn));
        }
    }
    for turn in 1..=20 {
        assert_eq!(listener.event().await, publication("h:1", turn, before.plus(turn)));
    }
}

async fn a_key_holds_for_its_channel(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut one, mut two) = (Client::json(a).await, Client::json(b).await);
    let (first, second) = (subscribe(&mut one, "h:1").await, subscribe(&mut two, "h:2").await);
    assert_eq!(Position::of(&one.ask(keyed("h:1", "k", 1)).await), first.plus(1));
    assert_eq!(Position::of(&one.ask(keyed("h:2", "k", 1)).await), second.plus(1));
    assert_eq!(two.event().await, publication("h:2", 1, second.plus(1)));
}

async fn a_key_is_forgotten_after_the_window(broker: Broker) {
    let fleet = broker.fleet(&[RULES, "history.idempotency_window=1s"]).await;
    let [a, _] = fleet.nodes();
    let mut client = Client::json(a).await;
    let first = Position::of(&client.ask(keyed("h:1", "k", 1)).await);
    let again = eventually("a key to be forgotten", async || {
        let position = Position::of(&client.ask(keyed("h:1", "k", 2)).await);
        (position != first).then_some(position)
    })
    .await;
    assert_eq!(again, first.plus(1));
}
