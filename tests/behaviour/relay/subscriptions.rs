//! A node subscribes to a Redis channel once, while it has at least one local subscriber.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::redis::Redis;

async fn wait_for_subscribers(redis: &Redis, channel: &str, count: u64) {
    let what = format!("{channel} to have {count} subscribers in Redis");
    eventually(&what, async || (redis.subscribers(channel).await == count).then_some(())).await;
}

#[tokio::test]
async fn a_node_subscribes_to_a_redis_channel_once_for_all_its_subscribers() {
    let redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[]).await, Node::on(&redis, &[]).await);
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(Client::plain(&a, "news").await);
        clients.push(Client::subscribed(&b, "news").await);
    }
    assert_eq!(redis.subscribers("news").await, 2);
    assert_eq!(redis.publish("news", "1").await, 2);
    for client in &mut clients {
        client.receive().await;
    }
}

#[tokio::test]
async fn a_node_unsubscribes_from_redis_about_a_second_after_its_last_subscriber() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let plain = Client::plain(&node, "news").await;
    let mut json = Client::subscribed(&node, "news").await;

    plain.close().await;
    node.wait_for_metric("tidegate_subscriptions", 1.).await;
    let unsubscribed = Instant::now();
    json.request(json!({"type": "unsubscribe", "id": 5, "channel": "news"})).await;
    assert_eq!(redis.subscribers("news").await, 1, "the subscription is kept for a second");
    wait_for_subscribers(&redis, "news", 0).await;
    assert!(
        unsubscribed.elapsed() >= Duration::from_millis(900),
        "unsubscribed from Redis after {:?}",
        unsubscribed.elapsed()
    );
    assert!(
        unsubscribed.elapsed() < Duration::from_secs(5),
        "unsubscribed from Redis after {:?}",
        unsubscribed.elapsed()
    );
    node.wait_for_metric("tidegate_channels", 0.).await;
}

#[tokio::test]
async fn a_node_subscribes_again_for_a_client_that_connects_later() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    for round in 0..2 {
        let mut client = Client::plain(&node, "news").await;
        redis.publish("news", format!("round {round}")).await;
        assert_eq!(client.receive_text().await, format!("round {round}"));
        client.close().await;
        wait_for_subscribers(&redis, "news", 0).await;
    }
}

#[tokio::test]
async fn a_client_that_disconnects_without_a_close_is_removed_with_its_subscription() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    drop(Client::plain(&node, "news").await);
    node.wait_for_metric("tidegate_connections", 0.).await;
    wait_for_subscribers(&redis, "news", 0).await;
}
