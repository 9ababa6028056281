//! A node starts before its Redis.

use serde_json::json;
use testkit::client::Client;
use testkit::node::Node;
use testkit::redis::Redis;

use super::{assert_relayed, wait_until_subscribed};

const TIMEOUT: &str = "broker.publish_timeout=300ms";

#[tokio::test]
async fn a_node_that_starts_without_redis_becomes_ready_when_redis_starts() {
    let mut redis = Redis::stopped();
    let node = Node::start_on(&redis, &[TIMEOUT]).await;
    assert!(!node.is_ready().await);
    assert_eq!(node.get("/healthz").await.status, 200);
    let mut plain = Client::plain(&node, "news").await;
    let mut json = Client::json(&node).await;
    let refused = json.request(json!({"type": "subscribe", "id": 1, "channel": "news"})).await;
    assert_eq!((&refused["type"], &refused["code"]), (&"error".into(), &"unavailable".into()));

    redis.run().await;
    node.wait_until_ready().await;
    wait_until_subscribed(&node, 1.).await;
    redis.publish("news", "at last").await;
    assert_eq!(plain.receive_text().await, "at last");
    json.subscribe("news").await;
    let mut other = Client::subscribed(&node, "news").await;
    assert_relayed(&mut other, &mut json, "news", "hello").await;
}

#[tokio::test]
async fn channels_unsubscribed_before_redis_starts_are_not_wanted_any_more() {
    let redis = Redis::stopped();
    let node = Node::start_on(&redis, &[TIMEOUT]).await;
    for number in 0..50 {
        Client::plain(&node, &format!("passing:{number}")).await.close().await;
    }
    node.wait_for_metric("tidegate_subscriptions_wanted", 0.).await;
}
