//! A position from which the history does not continue is answered with `recovered: false`, without old publications,
//! and then the subscriber receives the new ones.

use serde_json::json;
use testkit::client::Client;
use testkit::eventually;
use testkit::fleet::{Broker, for_every_broker};
use testkit::node::Node;

use super::{
    Position, RULES, SIZE_SLACK, publication, publish, publish_all, resume, subscribe, subscribed,
};

for_every_broker!(
    a_position_of_another_epoch_or_the_future_is_not_recovered,
    a_position_trimmed_by_size_is_not_recovered,
    a_position_older_than_the_historys_age_is_not_recovered,
    an_expired_history_begins_a_new_epoch_without_a_gap_for_subscribers,
    since_on_a_channel_without_history_is_not_recovered,
    an_invalid_position_is_a_bad_request,
);

/// Asserts that the answer is not recovered, and that only new publications follow.
async fn assert_not_recovered(
    node: &Node,
    publisher: &mut Client,
    since: Position,
    last: Position,
) -> Position {
    let mut client = Client::json(node).await;
    assert_eq!(resume(&mut client, "h:1", since).await, subscribed("h:1", last, false));
    let next = publish(publisher, "h:1", "new").await;
    assert_eq!(next, last.plus(1));
    assert_eq!(client.event().await, publication("h:1", "new", next));
    next
}

async fn a_position_of_another_epoch_or_the_future_is_not_recovered(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let mut last = publish_all(&mut publisher, "h:1", 1..=5).await;
    let Position { epoch, seq } = last;
    for since in [
        Position { epoch: epoch - 1, seq },
        Position { epoch: epoch - 1, seq: u64::MAX },
        Position { epoch: epoch + 1, seq },
        Position { epoch: epoch + 1, seq: 0 },
        Position { epoch: u64::MAX, seq: u64::MAX },
        Position { epoch: 0, seq: 0 },
        Position { epoch, seq: seq + 1000 },
        Position { epoch, seq: u64::MAX },
    ] {
        for node in [a, b] {
            last = assert_not_recovered(node, &mut publisher, since, last).await;
        }
    }
}

async fn a_position_trimmed_by_size_is_not_recovered(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let first = publish(&mut publisher, "h:1", 1).await;
    let count = 50 + SIZE_SLACK + 2;
    let last = publish_all(&mut publisher, "h:1", 2..=count).await;
    for node in [a, b] {
        // The newest 50 publications are always kept.
        let mut client = Client::json(node).await;
        let since = first.plus(count - 51);
        assert_eq!(resume(&mut client, "h:1", since).await, subscribed("h:1", last, true));
        for number in count - 49..=count {
            let expected = publication("h:1", number, first.plus(number - 1));
            assert_eq!(client.event().await, expected);
        }
    }
    let last = assert_not_recovered(a, &mut publisher, first, last).await;
    assert_not_recovered(b, &mut publisher, first, last).await;
}

const SHORT: &str = r#"rules=[{pattern="h:*",history={size=50,age="1s"}},{pattern="**"}]"#;

async fn a_position_older_than_the_historys_age_is_not_recovered(broker: Broker) {
    let fleet = broker.fleet(&[SHORT]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    // A subscriber on the channel, as on one that is always in use.
    subscribe(&mut Client::json(b).await, "h:1").await;
    let first = publish_all(&mut publisher, "h:1", 1..=3).await;
    for node in [a, b] {
        eventually("a publication to expire", async || {
            // New publications keep the history from expiring as a whole.
            publish(&mut publisher, "h:1", "later").await;
            let mut client = Client::json(node).await;
            let answer = resume(&mut client, "h:1", first).await;
            if answer["recovered"] == true {
                let next = client.event().await;
                assert_eq!(next, publication("h:1", "later", first.plus(1)));
                return None;
            }
            assert_eq!(answer["recovered"], false);
            let next = publish(&mut publisher, "h:1", "new").await;
            assert_eq!(client.event().await, publication("h:1", "new", next));
            Some(())
        })
        .await;
    }
}

async fn an_expired_history_begins_a_new_epoch_without_a_gap_for_subscribers(broker: Broker) {
    let fleet = broker.fleet(&[SHORT]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let mut subscriber = Client::json(b).await;
    let before = subscribe(&mut subscriber, "h:1").await;
    let first = publish(&mut publisher, "h:1", 1).await;
    assert_eq!(first, before.plus(1));
    assert_eq!(subscriber.event().await, publication("h:1", 1, first));
    let history = json!({"type": "history", "id": 6, "channel": "h:1"});
    eventually("the history to expire", async || {
        let answer = publisher.request(history.clone()).await;
        assert_eq!(answer["type"], "history", "{answer}");
        (Position::of(&answer).epoch != first.epoch).then_some(())
    })
    .await;
    let next = publish(&mut publisher, "h:1", 2).await;
    assert!(next.epoch > first.epoch && next.seq == 1, "{next} after {first}");
    // The subscriber that stayed connected missed nothing, so it gets no gap.
    assert_eq!(subscriber.event().await, publication("h:1", 2, next));
    for node in [a, b] {
        let mut client = Client::json(node).await;
        assert_eq!(resume(&mut client, "h:1", before).await, subscribed("h:1", next, false));
    }
}

async fn since_on_a_channel_without_history_is_not_recovered(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut client = Client::json(a).await;
    let answer = resume(&mut client, "news", Position { epoch: 1, seq: 1 }).await;
    let expected = json!({"type": "subscribed", "id": 1, "channel": "news", "recovered": false});
    assert_eq!(answer, expected);
    Client::json(b).await.publish("news", json!("new")).await;
    assert_eq!(client.event().await["data"], "new");
}

async fn an_invalid_position_is_a_bad_request(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, _] = fleet.nodes();
    let mut client = Client::json(a).await;
    for since in [
        json!(""),
        json!("-"),
        json!("1"),
        json!("1-"),
        json!("-1"),
        json!("1-2-3"),
        json!("a-b"),
        json!("+1-2"),
        json!("1- 2"),
        json!("99999999999999999999-1"),
        json!(1),
        json!({}),
        json!(["1-2"]),
        json!(true),
    ] {
        for kind in ["subscribe", "history"] {
            let command = json!({"type": kind, "id": 1, "channel": "h:1", "since": since});
            let answer = client.request(command).await;
            assert_eq!(answer["code"], "bad_request", "{kind} since {since}: {answer}");
        }
    }
    // The client was not subscribed, and its connection still works.
    publish(&mut client, "h:1", "before subscribing").await;
    let position = subscribe(&mut client, "h:1").await;
    publish(&mut client, "h:1", "after subscribing").await;
    assert_eq!(client.event().await, publication("h:1", "after subscribing", position.plus(1)));
}
