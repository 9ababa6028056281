//! Redis restarts, with and without its data.

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
async fn after_redis_lost_its_data_subscribers_get_a_history_lost_gap() {
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
async fn after_restarts_of_a_durable_redis_no_publication_is_missing() {
    let mut redis = Redis::stopped_with(&DURABLE);
    redis.run().await;
    let settings = [LONG, TIMEOUT];
    let nodes = [Node::on(&redis, &settings).await, Node::on(&redis, &settings).await];
    let mut clients = [Client::json(&nodes[0]).await, Client::json(&nodes[1]).await];
    let mut before = None;
    for client in &mut clients {
        before = Some(subscribe(client, "h:1").await);
    }
    let before = before.expect("at least one subscriber");
    let mut first = None;
    for number in 1..=LAST {
        if number % 100 == 50 {
            redis.kill();
            redis.run().await;
        }
        first = first.or(Some(publish_as_service(&redis, number).await));
    }
    assert_eq!(first, Some(before.plus(1)));
    for client in clients {
        receive_all(client, before).await;
    }
    // Clients can resume from positions from before the restarts.
    for node in &nodes {
        let mut late = Client::json(node).await;
        let answer = resume(&mut late, "h:1", before).await;
        assert_eq!(answer["recovered"], true, "{answer}");
        receive_all(late, before).await;
    }
}

/// Publishes as a service does, retries until there is an answer, and returns the position.
async fn publish_as_service(redis: &Redis, number: u64) -> Position {
    let (payload, header) = (number.to_string(), format!(r#"{{"id":"{number}"}}"#));
    let command = ["FCALL", "tidegate_publish", "1", "tidegate:h:1", &payload, &header];
    let position = eventually("a publication to be accepted", async || {
        answer::<String>(redis, &command).await.ok()
    });
    Position::parse(&position.await)
}

async fn receive_all(mut client: Client, mut at: Position) {
    for number in 1..=LAST {
        let event = client.event().await;
        assert_eq!((&event["type"], &event["data"]), (&"publication".into(), &Value::from(number)));
        let position = Position::of(&event);
        let follows = position == at.plus(1) || position.epoch > at.epoch;
        assert!(follows, "{position} after {at}");
        at = position;
    }
}
