//! Redis is killed and starts again without its data.

use serde_json::{Map, Value, json};
use testkit::client::{Client, publication};
use testkit::node::Node;
use testkit::redis::Redis;

use super::{assert_relayed, expect_gap, wait_until_subscribed};

const TIMEOUT: &str = "broker.publish_timeout=300ms";

#[tokio::test]
async fn client_connections_survive_a_restart_of_redis_with_a_gap() {
    let mut redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[TIMEOUT]).await, Node::on(&redis, &[TIMEOUT]).await);
    let mut client_a = Client::subscribed(&a, "news").await;
    let mut client_b = Client::subscribed(&b, "news").await;
    let mut plain = Client::plain(&b, "news").await;

    redis.kill();
    for node in [&a, &b] {
        node.wait_until_unready().await;
        assert!(node.get("/readyz").await.json()["reasons"][0].is_string());
    }
    let publish = json!({"type": "publish", "id": 3, "channel": "news", "data": 1});
    assert_eq!(client_a.request(publish).await["code"], "unavailable");
    assert_eq!(client_b.request(json!({"type": "ping", "id": 4})).await["type"], "pong");

    redis.run().await;
    expect_gap(&mut client_a, "news").await;
    expect_gap(&mut client_b, "news").await;
    a.wait_until_ready().await;
    assert_relayed(&mut client_a, &mut client_b, "news", "after").await;
    assert_eq!(plain.receive_text().await, "\"after\"");
}

#[tokio::test]
async fn a_client_that_connects_while_redis_is_down_receives_later_publications() {
    let mut redis = Redis::start().await;
    let node = Node::on(&redis, &[TIMEOUT]).await;
    redis.kill();
    node.wait_until_unready().await;
    let mut plain = Client::plain(&node, "news").await;
    redis.run().await;
    wait_until_subscribed(&node, 1.).await;
    redis.publish("news", "after").await;
    assert_eq!(plain.receive_text().await, "after");
}

#[tokio::test]
async fn while_redis_is_down_a_plain_frame_closes_the_connection_with_1013() {
    let mut redis = Redis::start().await;
    let node = Node::on(&redis, &[TIMEOUT]).await;
    let mut client = Client::plain(&node, "news").await;
    redis.kill();
    client.send("not published").await;
    assert_eq!(u16::from(client.receive_close().await.code), 1013);
}

#[tokio::test]
async fn two_thousand_channels_are_subscribed_again_after_a_restart_of_redis() {
    let mut redis = Redis::start().await;
    let node = Node::on(&redis, &["session.channels_max=1000", "session.message_bytes_max=1MiB"]);
    let node = node.await;
    let mut clients = [Client::json(&node).await, Client::json(&node).await];
    for (half, client) in clients.iter_mut().enumerate() {
        let name = |number: usize| (format!("room:{}", half * 1000 + number), Value::Null);
        let channels: Map<_, _> = (0..1000).map(name).collect();
        client.send_command(json!({"type": "subscribe", "id": 1, "channels": channels})).await;
        for _ in 0..1000 {
            assert_eq!(client.answer(1).await["type"], "subscribed");
        }
    }
    wait_until_subscribed(&node, 2000.).await;
    redis.kill();
    node.wait_for_metric("tidegate_subscriptions_confirmed", 0.).await;
    redis.run().await;
    wait_until_subscribed(&node, 2000.).await;
    for (half, client) in clients.iter_mut().enumerate() {
        for _ in 0..1000 {
            assert_eq!(client.event().await["type"], "gap");
        }
        for number in [0, 1, 499, 999] {
            let channel = format!("room:{}", half * 1000 + number);
            assert_eq!(redis.publish(&channel, "1").await, 1);
            assert_eq!(client.event().await, publication(&channel, 1));
        }
    }
}
