//! A history is a Redis Stream that services can read, and that may be deleted.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::eventually;
use testkit::fleet::Fleet;
use testkit::process::Signal;

use super::super::{
    Position, RULES, SIZE_SLACK, publication, publish, publish_all, resume, subscribe, subscribed,
};

const KEY: &str = "tidegate:h:1";

#[tokio::test]
async fn the_ids_of_a_historys_stream_entries_are_the_positions() {
    let fleet = Fleet::redis(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut publishers = [Client::json(a).await, Client::json(b).await];
    let mut expected = Vec::new();
    for number in 0..10 {
        let position = publish(&mut publishers[number % 2], "h:1", number as u64).await;
        expected.push((position.to_string(), number.to_string()));
    }
    let entries: Vec<(String, Vec<String>)> =
        fleet.server().query(&["XRANGE", KEY, "-", "+"]).await;
    let found: Vec<_> = entries
        .into_iter()
        .map(|(id, fields)| {
            let field = |name: &str| {
                let at = fields.iter().step_by(2).position(|it| it == name).expect("the field");
                fields[at * 2 + 1].clone()
            };
            let header: Value = serde_json::from_str(&field("h")).expect("a JSON object");
            assert!(header["ts"].is_u64() && header["node"].is_string(), "{header}");
            (id, field("p"))
        })
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_historys_stream_is_trimmed_by_size_and_all_its_keys_expire() {
    let fleet = Fleet::redis(&[RULES]).await;
    let [a, _] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let mut longest = 0;
    for turn in 0..10 {
        publish_all(&mut publisher, "h:1", 1..=40).await;
        let length: u64 = fleet.server().query(&["XLEN", KEY]).await;
        assert!(length >= 40 && (turn == 0 || length >= 50), "{length} in turn {turn}");
        longest = longest.max(length);
    }
    assert!(longest <= 50 + SIZE_SLACK, "{longest}");
    let expires: i64 = fleet.server().query(&["PTTL", KEY]).await;
    assert!((0..=2 * 10 * 60 * 1000).contains(&expires), "{expires} ms");
    let keys: Vec<String> = fleet.server().query(&["KEYS", "*"]).await;
    for key in keys {
        let expires: i64 = fleet.server().query(&["PTTL", &key]).await;
        assert!(key.starts_with("tidegate:") && expires > 0, "{key} never expires");
    }
}

#[tokio::test]
async fn a_history_whose_stream_was_deleted_begins_a_new_epoch() {
    let fleet = Fleet::redis(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut publisher, mut live) = (Client::json(a).await, Client::json(b).await);
    subscribe(&mut live, "h:1").await;
    let first = publish(&mut publisher, "h:1", 1).await;
    assert_eq!(live.event().await, publication("h:1", 1, first));
    let old = publish(&mut publisher, "h:1", 2).await;
    assert_eq!(live.event().await, publication("h:1", 2, old));

    assert_eq!(fleet.server().query::<u64>(&["DEL", KEY]).await, 1);
    let next = publish(&mut publisher, "h:1", 3).await;
    assert!(next.epoch > old.epoch, "{next} after {old}");
    // The subscriber that stayed connected missed nothing.
    assert_eq!(live.event().await, publication("h:1", 3, next));
    for (since, node) in [(first, a), (first, b), (old, a), (old, b)] {
        let mut client = Client::json(node).await;
        assert_eq!(resume(&mut client, "h:1", since).await, subscribed("h:1", next, false));
    }
    let mut client = Client::json(b).await;
    assert_eq!(resume(&mut client, "h:1", next).await, subscribed("h:1", next, true));
    let last = publish(&mut publisher, "h:1", 4).await;
    assert_eq!(last, next.plus(1));
    assert_eq!(client.event().await, publication("h:1", 4, last));
}

#[tokio::test]
async fn nodes_install_flushed_functions_again_for_publish_and_subscribe() {
    let fleet = Fleet::redis(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut publisher, mut live) = (Client::json(a).await, Client::json(b).await);
    let before = subscribe(&mut live, "h:1").await;
    for number in 1..=3 {
        fleet.server().query::<String>(&["FUNCTION", "FLUSH"]).await;
        let command = json!({"type": "publish", "id": 2, "channel": "h:1", "data": number});
        let answer = eventually("the functions to be installed again", async || {
            let answer = publisher.request(command.clone()).await;
            let is_published = answer["type"] == "published";
            assert!(is_published || answer["code"] == "unavailable", "{answer}");
            is_published.then_some(answer)
        })
        .await;
        assert_eq!(Position::of(&answer), before.plus(number));
        assert_eq!(live.event().await, publication("h:1", number, before.plus(number)));
    }
    // The first subscription of a channel, which only reads, has the functions installed too.
    fleet.server().query::<String>(&["FUNCTION", "FLUSH"]).await;
    eventually("a subscription to succeed", async || {
        let answer = live.request(json!({"type": "subscribe", "id": 1, "channel": "h:2"})).await;
        (answer["type"] == "subscribed").then_some(())
    })
    .await;
}

/// While the node is stopped, the stream is deleted, a publication begins a new one, and that is deleted too.
#[tokio::test]
async fn no_client_recovers_past_a_publication_whose_stream_was_deleted() {
    let fleet = Fleet::redis(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let redis = fleet.server();
    let mut client = Client::json(a).await;
    subscribe(&mut client, "h:1").await;
    let first = publish(&mut Client::json(b).await, "h:1", 1).await;
    assert_eq!(client.event().await, publication("h:1", 1, first));
    a.signal(Signal::STOP);
    let _: u64 = redis.query(&["DEL", KEY]).await;
    let _: String = redis.query(&["FCALL", "tidegate_publish", "1", KEY, "2"]).await;
    let _: u64 = redis.query(&["DEL", KEY]).await;
    a.signal(Signal::CONT);
    let gap = client.event().await;
    assert_eq!((&gap["type"], &gap["reason"]), (&json!("gap"), &json!("history_lost")));
    assert_eq!(client.event().await["data"], 2);
    for node in [a, b] {
        let answer = resume(&mut Client::json(node).await, "h:1", first).await;
        assert_eq!(answer["recovered"], false, "2 would be missing: {answer}");
    }
    let next = publish(&mut Client::json(b).await, "h:1", 3).await;
    assert_eq!(client.event().await, publication("h:1", 3, next));
}
