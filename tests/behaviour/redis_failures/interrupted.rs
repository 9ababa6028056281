//! The subscribed Redis connection is closed while publications flow.

use testkit::client::{Client, Message, publication};
use testkit::eventually;
use testkit::node::Node;
use testkit::raw::{RawClient, upgrade};
use testkit::redis::Redis;

use super::{assert_relayed, expect_gap};

/// The last number of the stream.
const LAST: u64 = 2000;

#[tokio::test]
async fn after_a_killed_subscription_json_clients_get_a_gap_and_then_new_publications() {
    let redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[]).await, Node::on(&redis, &[]).await);
    let mut client_a = Client::subscribed(&a, "news").await;
    let mut client_b = Client::subscribed(&b, "news").await;
    assert_relayed(&mut client_a, &mut client_b, "news", "before").await;
    assert_eq!(client_a.event().await, publication("news", "before"));

    assert!(redis.kill_subscribers().await >= 2);
    expect_gap(&mut client_a, "news").await;
    expect_gap(&mut client_b, "news").await;
    assert_relayed(&mut client_a, &mut client_b, "news", "after").await;
    assert_eq!(client_a.event().await, publication("news", "after"));
    for node in [&a, &b] {
        node.wait_until_ready().await;
        assert!(node.metric("tidegate_broker_reconnects_total").await >= 1.);
    }
}

#[tokio::test]
async fn after_a_killed_subscription_each_channel_of_a_client_gets_its_own_gap() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut client = Client::subscribed(&node, "news").await;
    client.subscribe("sport").await;
    redis.kill_subscribers().await;
    let mut gaps = Vec::new();
    for _ in 0..2 {
        let event = client.event().await;
        assert_eq!(event["type"], "gap");
        gaps.push(event["channel"].as_str().expect("a name").to_owned());
    }
    gaps.sort();
    assert_eq!(gaps, ["news", "sport"]);
}

#[tokio::test]
async fn after_a_killed_subscription_plain_clients_stay_open_and_get_new_publications() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut plain = Client::plain(&node, "news").await;
    let mut json = Client::subscribed(&node, "news").await;
    redis.kill_subscribers().await;
    expect_gap(&mut json, "news").await;
    redis.publish("news", "after").await;
    assert_eq!(plain.receive_text().await, "after");
}

#[tokio::test]
async fn a_plain_client_with_gap_close_is_closed_with_1013_at_a_gap() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut closing = Client::plain(&node, "news?gap=close").await;
    let mut other_channel = Client::plain(&node, "sport?gap=close&echo=false").await;
    redis.publish("news", "before").await;
    assert_eq!(closing.receive_text().await, "before");
    redis.kill_subscribers().await;
    for client in [&mut closing, &mut other_channel] {
        let close = client.receive_close().await;
        assert_eq!(u16::from(close.code), 1013);
        assert!(close.reason.contains("missing"), "{}", close.reason);
    }
    node.wait_until_ready().await;
    let mut again = Client::plain(&node, "news?gap=close").await;
    redis.publish("news", "after").await;
    assert_eq!(again.receive_text().await, "after");
}

#[tokio::test]
async fn a_plain_client_with_gap_close_is_refused_with_1013_while_redis_is_down() {
    let node = Node::start_on(&Redis::stopped(), &[]).await;
    let mut closing = Client::plain(&node, "news?gap=close").await;
    assert_eq!(u16::from(closing.receive_close().await.code), 1013);
    let mut open_client = Client::plain(&node, "news").await;
    open_client.send(Message::Ping("still there".into())).await;
    let open = "tidegate_connections{protocol=\"plain\",transport=\"websocket\"}";
    node.wait_for_metric(open, 1.).await;
    let closed = "tidegate_connections_closed_total{reason=\"unavailable\"}";
    node.wait_for_metric(closed, 1.).await;
}

#[tokio::test]
async fn an_unknown_value_of_gap_is_answered_with_400() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::connect(&node).await;
    raw.send(upgrade("/ws/news?gap=tell", "")).await;
    assert_eq!(raw.response().await.status, 400);
}

#[tokio::test]
async fn one_interruption_of_a_stream_of_publications_causes_one_gap() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut client = Client::subscribed(&node, "news").await;
    let mut connection = redis.connection().await;
    let stream = tokio::spawn(async move {
        for number in 0..LAST {
            let mut command = ::redis::cmd("PUBLISH");
            command.arg("tidegate:news").arg(number);
            let _: u64 = command.query_async(&mut connection).await.expect("Redis publishes");
        }
    });
    for number in 0..100 {
        assert_eq!(client.event().await, publication("news", number));
    }
    redis.kill_subscribers().await;
    let subscribed = async || (redis.subscribers("news").await == 1).then_some(());
    eventually("the channel to be subscribed again", subscribed).await;
    stream.await.expect("the publisher ends without a panic");
    redis.publish("news", LAST.to_string()).await;

    let (mut next, mut jumps, mut gaps) = (100, 0, 0);
    while next <= LAST || gaps == 0 {
        let event = client.event().await;
        if event["type"] == "gap" {
            gaps += 1;
            continue;
        }
        let number = event["data"].as_u64().expect("a number");
        assert!(number >= next, "{number} arrived twice or out of order");
        jumps += u32::from(number > next);
        next = number + 1;
    }
    assert!(jumps <= 1 && gaps == 1, "{jumps} jumps and {gaps} gaps for one interruption");
}
