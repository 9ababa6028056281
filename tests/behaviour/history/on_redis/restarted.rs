//! Redis dies: with what it had on disk, or with nothing.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::redis::Redis;

use super::super::{LONG, Position, RULES, publish, publish_all, resume, subscribe, subscribed};
use super::answer;

const TIMEOUT: &str = "broker.publish_timeout=300ms";

const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

const LAST: u64 = 600;

#[tokio::test]
async fn with_nothing_left_clients_are_told() {
    let mut redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[RULES, TIMEOUT]).await, Node::on(&redis, &[RULES]).await);
    let mut live = Client::json(&a).await;
    let before = subscribe(&mut live, "h:1").await;
    let old = publish_all(&mut Client::json(&b).await, "h:1", 1..=5).await;
    for number in 1..=5 {
        assert_eq!(Position::of(&live.event().await), before.plus(number));
    }

    redis.kill();
    a.wait_until_unready().await;
    redis.run().await;
    let gap = json!({"type": "gap", "channel": "h:1", "reason": "history_lost"});
    assert_eq!(live.event().await, gap);
    for node in [&a, &b] {
        node.wait_until_ready().await;
    }
    let mut late = Client::json(&b).await;
    let answer = resume(&mut late, "h:1", old).await;
    let position = Position::of(&answer);
    assert!(position.epoch > old.epoch, "{answer} after {old}");
    assert_eq!(answer, subscribed("h:1", position, false));
    let next = publish(&mut late, "h:1", "new").await;
    assert_eq!(next, position.plus(1));
    for client in [&mut live, &mut late] {
        assert_eq!(Position::of(&client.event().await), next);
    }
}

#[tokio::test]
async fn with_all_on_disk_nothing_is_missing() {
    let mut redis = Redis::stopped_with(&DURABLE);
    redis.run().await;
    let settings = [LONG, TIMEOUT];
    let nodes = [Node::on(&redis, &settings).await, Node::on(&redis, &settings).await];
    let mut clients = [Client::json(&nodes[0]).await, Client::json(&nodes[1]).await];
    let mut before = None;
    for client in &mut clients {
        before = Some(subscribe(client, "h:1").await);
    }
    let before = before.expect("somebody subscribed");
    let mut first = None;
    for number in 1..=LAST {
        if number % 100 == 50 {
            redis.kill();
            redis.run().await;
        }
        first = first.or(Some(published(&redis, number).await));
    }
    assert_eq!(first, Some(before.plus(1)));
    for client in clients {
        hear_all(client, before).await;
    }
    // Positions of before the restarts still lead on.
    for node in &nodes {
        let mut late = Client::json(node).await;
        let answer = resume(&mut late, "h:1", before).await;
        assert_eq!(answer["recovered"], true, "{answer}");
        hear_all(late, before).await;
    }
}

/// A service publishes, and tries again where it got no answer; where it stands.
async fn published(redis: &Redis, number: u64) -> Position {
    let (payload, header) = (number.to_string(), format!(r#"{{"id":"{number}"}}"#));
    let command = ["FCALL", "tidegate_publish", "1", "tidegate:h:1", &payload, &header];
    let position = eventually("a publication to be taken", async || {
        answer::<String>(redis, &command).await.ok()
    });
    Position::parse(&position.await)
}

async fn hear_all(mut client: Client, mut at: Position) {
    for number in 1..=LAST {
        let event = client.event().await;
        assert_eq!((&event["type"], &event["data"]), (&"publication".into(), &Value::from(number)));
        let position = Position::of(&event);
        let follows = position == at.plus(1) || position.epoch > at.epoch;
        assert!(follows, "{position} after {at}");
        at = position;
    }
}
