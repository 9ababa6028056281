//! A node subscribes to a channel once, and only while somebody here wants it.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::redis::Redis;

async fn subscribers_become(redis: &Redis, channel: &str, count: u64) {
    let what = format!("{channel} to have {count} subscribers in Redis");
    eventually(&what, async || (redis.subscribers(channel).await == count).then_some(())).await;
}

#[tokio::test]
async fn once_a_node_however_many_listen() {
    let redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[]).await, Node::on(&redis, &[]).await);
    let mut crowd = Vec::new();
    for _ in 0..5 {
        crowd.push(Client::plain(&a, "news").await);
        crowd.push(Client::subscribed(&b, "news").await);
    }
    assert_eq!(redis.subscribers("news").await, 2);
    assert_eq!(redis.publish("news", "1").await, 2);
    for client in &mut crowd {
        client.receive().await;
    }
}

#[tokio::test]
async fn it_is_left_about_a_second_after_the_last() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let plain = Client::plain(&node, "news").await;
    let mut json = Client::subscribed(&node, "news").await;

    plain.close().await;
    node.wait_for_metric("tidegate_subscriptions", 1.).await;
    let left = Instant::now();
    json.request(json!({"type": "unsubscribe", "id": 5, "channel": "news"})).await;
    assert_eq!(redis.subscribers("news").await, 1, "who comes back within a second costs nothing");
    subscribers_become(&redis, "news", 0).await;
    assert!(left.elapsed() >= Duration::from_millis(900), "left after {:?}", left.elapsed());
    assert!(left.elapsed() < Duration::from_secs(5), "left after {:?}", left.elapsed());
    node.wait_for_metric("tidegate_channels", 0.).await;
}

#[tokio::test]
async fn who_comes_after_it_was_left_hears_again() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    for round in 0..2 {
        let mut client = Client::plain(&node, "news").await;
        redis.publish("news", format!("round {round}")).await;
        assert_eq!(client.receive_text().await, format!("round {round}"));
        client.close().await;
        subscribers_become(&redis, "news", 0).await;
    }
}

#[tokio::test]
async fn a_client_that_vanishes_is_forgotten() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    drop(Client::plain(&node, "news").await);
    node.wait_for_metric("tidegate_connections", 0.).await;
    subscribers_become(&redis, "news", 0).await;
}
