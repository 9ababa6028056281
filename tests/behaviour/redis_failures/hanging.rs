//! Redis hangs: its connections stay open, but it does not answer.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::client::{Client, publication};
use testkit::node::Node;
use testkit::redis::Redis;

use super::assert_relayed;

/// Tolerance for a busy machine.
const SLACK: Duration = Duration::from_secs(1);

const TIMEOUT: &str = "broker.publish_timeout=500ms";

#[tokio::test]
async fn while_redis_hangs_commands_are_answered_unavailable_within_publish_timeout() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[TIMEOUT]).await;
    let mut client = Client::subscribed(&node, "news").await;
    redis.freeze();
    for _ in 0..3 {
        let sent = Instant::now();
        let publish = json!({"type": "publish", "id": 3, "channel": "news", "data": 1});
        let answer = client.request(publish).await;
        assert_eq!((&answer["code"], &answer["temporary"]), (&"unavailable".into(), &true.into()));
        assert!(sent.elapsed() < Duration::from_millis(500) + SLACK, "{:?}", sent.elapsed());
    }
    let answer = client.request(json!({"type": "subscribe", "id": 4, "channel": "sport"})).await;
    assert_eq!((&answer["code"], &answer["channel"]), (&"unavailable".into(), &"sport".into()));
    assert_eq!(client.request(json!({"type": "ping", "id": 5})).await["type"], "pong");
    let response = node.post("/api/publish/news", &[], b"1").await;
    assert_eq!((response.status, &response.json()["error"]["code"]), (503, &"unavailable".into()));
    redis.thaw();
}

#[tokio::test]
async fn while_redis_hangs_a_plain_frame_closes_the_connection_with_1013() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[TIMEOUT]).await;
    let mut client = Client::plain(&node, "news").await;
    redis.freeze();
    client.send("not published").await;
    assert_eq!(u16::from(client.receive_close().await.code), 1013);
    redis.thaw();
}

#[tokio::test]
async fn a_node_whose_redis_hangs_is_unready_with_the_reason_until_it_answers() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let frozen = Instant::now();
    redis.freeze();
    node.wait_until_unready().await;
    assert!(frozen.elapsed() < Duration::from_secs(5) + SLACK, "{:?}", frozen.elapsed());
    let answer = node.get("/readyz").await.json();
    assert_eq!(answer["ready"], false);
    assert!(answer["reasons"][0].as_str().expect("a reason").contains("redis"), "{answer}");
    assert_eq!(node.metric("tidegate_broker_up").await, 0.);
    assert_eq!(node.get("/healthz").await.status, 200, "the process is alive");
    redis.thaw();
    node.wait_until_ready().await;
    assert_eq!(node.metric("tidegate_broker_up").await, 1.);
}

#[tokio::test]
async fn after_redis_hung_subscribers_receive_the_publication_or_a_gap() {
    let redis = Redis::start().await;
    let nodes = [Node::on(&redis, &[TIMEOUT]).await, Node::on(&redis, &[TIMEOUT]).await];
    let mut client_a = Client::subscribed(&nodes[0], "news").await;
    let mut client_b = Client::subscribed(&nodes[1], "news").await;
    let mut service = redis.connection().await;
    redis.freeze();
    let publishing = tokio::spawn(async move {
        let mut command = ::redis::cmd("PUBLISH");
        command.arg("tidegate:news").arg("\"while it hung\"");
        command.query_async::<u64>(&mut service).await
    });
    for node in &nodes {
        node.wait_until_unready().await;
    }
    redis.thaw();
    publishing.await.expect("no panic").expect("Redis accepts the publication after the hang");
    for client in [&mut client_a, &mut client_b] {
        let event = client.event().await;
        assert!(event["type"] == "gap" || event == publication("news", "while it hung"), "{event}");
    }
    for node in &nodes {
        node.wait_until_ready().await;
    }
    assert_relayed(&mut client_a, &mut client_b, "news", "after").await;
}
