//! The subscribed Redis connection stays open but delivers nothing.

use testkit::client::{Client, publication};
use testkit::node::Node;
use testkit::proxy::Proxy;
use testkit::redis::Redis;

use super::expect_gap;

#[tokio::test]
async fn a_subscription_that_silently_stopped_delivering_is_found_by_the_probe_and_renewed() {
    let redis = Redis::start().await;
    let proxy = Proxy::in_front_of(&redis).await;
    let node = Node::start_at(&proxy.url(), &[]).await;
    node.wait_until_ready().await;
    let mut client = Client::subscribed(&node, "news").await;
    redis.publish("news", "1").await;
    assert_eq!(client.event().await, publication("news", 1));

    proxy.mute_subscribers();
    redis.publish("news", "2").await;
    node.wait_until_unready().await;
    expect_gap(&mut client, "news").await;
    redis.publish("news", "3").await;
    assert_eq!(client.event().await, publication("news", 3));
    node.wait_until_ready().await;
    assert!(node.metric("tidegate_broker_probe_rtt_seconds_count").await >= 1.);
}
