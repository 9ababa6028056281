//! Channels that are left and joined again on the same connection, again and again, while others stay and
//! much is published.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::fleet::{Broker, for_every_broker};

use super::{LONG, Position, publish_all, resume, subscribe};

for_every_broker!(
    who_leaves_and_comes_back_gets_each_publication_once_and_in_order,
    a_repeated_subscribe_answers_the_position_of_what_was_delivered_before_it,
);

/// Subscribers that stay, so that a publication is on its way for a while.
const STAYING: usize = 150;

const TOGGLING: usize = 12;

const PUBLICATIONS: u64 = 1200;

/// Toggles until it has the last publication.
async fn toggle(mut client: Client, before: Position) {
    let mut last = before;
    let mut rounds = 0;
    while last != before.plus(PUBLICATIONS) {
        let answer = resume(&mut client, "h:1", last).await;
        assert_eq!(answer["type"], "subscribed", "nothing comes before it: {answer}");
        assert_eq!(answer["recovered"], true, "{answer}");
        // What was missed and a few more; none where it is at the end.
        for _ in 0..rounds % 4 {
            if last == before.plus(PUBLICATIONS) {
                break;
            }
            last = following(client.event().await, last);
        }
        client.send_command(json!({"type": "unsubscribe", "id": 3, "channel": "h:1"})).await;
        loop {
            let event = client.event().await;
            if event["type"] == "unsubscribed" {
                break;
            }
            last = following(event, last);
        }
        rounds += 1;
    }
    assert!(rounds > 1);
}

/// The position of a publication that must be the next one.
fn following(event: Value, last: Position) -> Position {
    assert_eq!(event["type"], "publication", "{event}");
    assert_eq!(Position::of(&event), last.plus(1), "twice, missing or out of order");
    last.plus(1)
}

async fn who_leaves_and_comes_back_gets_each_publication_once_and_in_order(broker: Broker) {
    let fleet = broker.fleet(&[LONG]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(b).await;
    let before = subscribe(&mut Client::json(a).await, "h:1").await;
    let mut staying = Vec::new();
    for _ in 0..STAYING {
        staying.push(Client::plain(a, "h:1").await);
    }
    let mut toggling = Vec::new();
    for _ in 0..TOGGLING {
        toggling.push(tokio::spawn(toggle(Client::json(a).await, before)));
    }
    publish_all(&mut publisher, "h:1", 1..=PUBLICATIONS).await;
    for client in toggling {
        client.await.expect("it heard what was due");
    }
    for client in &mut staying {
        assert_eq!(client.receive_text().await, "1");
    }
}

async fn a_repeated_subscribe_answers_the_position_of_what_was_delivered_before_it(broker: Broker) {
    let fleet = broker.fleet(&[LONG]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(b).await;
    // A publication comes to them first.
    let mut staying = Vec::new();
    for _ in 0..STAYING {
        staying.push(Client::plain(a, "h:1").await);
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
            last = following(event, last);
        }
    }
    publishing.await.expect("all is published");
    drop(staying);
}
