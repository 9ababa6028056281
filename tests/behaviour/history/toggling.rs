//! Clients that unsubscribe and subscribe again and again on one connection, while others stay subscribed and
//! publications flow.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::fleet::{Broker, for_every_broker};

use super::{LONG, Position, publish_all, resume, subscribe};

for_every_broker!(
    a_client_that_toggles_its_subscription_gets_each_publication_once_and_in_order,
    a_repeated_subscribe_answers_the_position_of_the_last_delivered_publication,
);

/// Subscribers that stay, so that delivering a publication takes a while.
const OTHERS: usize = 150;

const TOGGLING: usize = 12;

const PUBLICATIONS: u64 = 1200;

/// Unsubscribes and resumes until the client has received the last publication.
async fn toggle(mut client: Client, before: Position) {
    let mut last = before;
    let mut rounds = 0;
    while last != before.plus(PUBLICATIONS) {
        let answer = resume(&mut client, "h:1", last).await;
        assert_eq!(answer["type"], "subscribed", "an event arrived before the answer: {answer}");
        assert_eq!(answer["recovered"], true, "{answer}");
        // Receives up to three publications, none after the last one.
        for _ in 0..rounds % 4 {
            if last == before.plus(PUBLICATIONS) {
                break;
            }
            last = expect_next(client.event().await, last);
        }
        client.send_command(json!({"type": "unsubscribe", "id": 3, "channel": "h:1"})).await;
        loop {
            let event = client.event().await;
            if event["type"] == "unsubscribed" {
                break;
            }
            last = expect_next(event, last);
        }
        rounds += 1;
    }
    assert!(rounds > 1);
}

/// The position of a publication that must be the next one.
fn expect_next(event: Value, last: Position) -> Position {
    assert_eq!(event["type"], "publication", "{event}");
    assert_eq!(
        Position::of(&event),
        last.plus(1),
        "a publication is duplicated, missing or out of order"
    );
    last.plus(1)
}

async fn a_client_that_toggles_its_subscription_gets_each_publication_once_and_in_order(
    broker: Broker,
) {
    let fleet = broker.fleet(&[LONG]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(b).await;
    let before = subscribe(&mut Client::json(a).await, "h:1").await;
    let mut others = Vec::new();
    for _ in 0..OTHERS {
        others.push(Client::plain(a, "h:1").await);
    }
    let mut toggling = Vec::new();
    for _ in 0..TOGGLING {
        toggling.push(tokio::spawn(toggle(Client::json(a).await, before)));
    }
    publish_all(&mut publisher, "h:1", 1..=PUBLICATIONS).await;
    for client in toggling {
        client.await.expect("the client received all publications");
    }
    for client in &mut others {
        assert_eq!(client.receive_text().await, "1");
    }
}

async fn a_repeated_subscribe_answers_the_position_of_the_last_delivered_publication(
    broker: Broker,
) {
    let fleet = broker.fleet(&[LONG]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(b).await;
    // The node delivers a publication to these subscribers first.
    let mut others = Vec::new();
    for _ in 0..OTHERS {
        others.push(Client::plain(a, "h:1").await);
    }
    let mut client = Client::json(a).await;
    let mut last = subscribe(&mut client, "h:1").await;
    let end = last.plus(PUBLICATIONS);
    let publishing = tokio::spawn(async move {
        publish_all(&mut publisher, "h:1", 1..=PUBLICATIONS).await;
    });
    let again = json!({"type": "subscribe", "id": 4, "channel": "h:1"});
    client.send_command(again.clone()).await;
    while last != end {
        let event = client.event().await;
        if event["type"] == "subscribed" {
            assert_eq!(Position::of(&event), last);
            client.send_command(again.clone()).await;
        } else {
            last = expect_next(event, last);
        }
    }
    publishing.await.expect("the publisher ends without a panic");
    drop(others);
}
