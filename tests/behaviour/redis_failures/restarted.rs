//! Redis dies, and another takes its place.

use serde_json::{Map, Value, json};
use testkit::client::{Client, publication};
use testkit::node::Node;
use testkit::redis::Redis;

use super::{hears_gap, is_subscribed_again, relays};

const TIMEOUT: &str = "broker.publish_timeout=300ms";

#[tokio::test]
async fn connections_stay_and_go_on_after_a_gap() {
    let mut redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[TIMEOUT]).await, Node::on(&redis, &[TIMEOUT]).await);
    let mut here = Client::subscribed(&a, "news").await;
    let mut there = Client::subscribed(&b, "news").await;
    let mut plain = Client::plain(&b, "news").await;

    redis.kill();
    for node in [&a, &b] {
        node.wait_until_unready().await;
        assert!(node.get("/readyz").await.json()["reasons"][0].is_string());
    }
    let publish = json!({"type": "publish", "id": 3, "channel": "news", "data": 1});
    assert_eq!(here.request(publish).await["code"], "unavailable");
    assert_eq!(there.request(json!({"type": "ping", "id": 4})).await["type"], "pong");

    redis.run().await;
    hears_gap(&mut here, "news").await;
    hears_gap(&mut there, "news").await;
    a.wait_until_ready().await;
    relays(&mut here, &mut there, "news", "after").await;
    assert_eq!(plain.receive_text().await, "\"after\"");
}

#[tokio::test]
async fn who_connects_meanwhile_hears_what_is_new() {
    let mut redis = Redis::start().await;
    let node = Node::on(&redis, &[TIMEOUT]).await;
    redis.kill();
    node.wait_until_unready().await;
    let mut plain = Client::plain(&node, "news").await;
    redis.run().await;
    is_subscribed_again(&node, 1.).await;
    redis.publish("news", "after").await;
    assert_eq!(plain.receive_text().await, "after");
}

#[tokio::test]
async fn a_plain_frame_meanwhile_closes_with_1013() {
    let mut redis = Redis::start().await;
    let node = Node::on(&redis, &[TIMEOUT]).await;
    let mut client = Client::plain(&node, "news").await;
    redis.kill();
    client.send("into the void").await;
    assert_eq!(u16::from(client.receive_close().await.code), 1013);
}

#[tokio::test]
async fn two_thousand_channels_are_all_subscribed_again() {
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
    is_subscribed_again(&node, 2000.).await;
    redis.kill();
    node.wait_for_metric("tidegate_subscriptions_confirmed", 0.).await;
    redis.run().await;
    is_subscribed_again(&node, 2000.).await;
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
