//! The subscribed connection is cut in the middle of a stream.

use super::{hears_gap, relays};
use crate::support::client::{Client, publication};
use crate::support::eventually;
use crate::support::node::Node;
use crate::support::redis::Redis;

/// The last number of the stream.
const LAST: u64 = 2000;

#[tokio::test]
async fn json_subscribers_hear_of_a_gap_and_then_what_is_new() {
    let redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[]).await, Node::on(&redis, &[]).await);
    let mut here = Client::subscribed(&a, "news").await;
    let mut there = Client::subscribed(&b, "news").await;
    relays(&mut here, &mut there, "news", "before").await;
    assert_eq!(here.event().await, publication("news", "before"));

    assert!(redis.kill_subscribers().await >= 2);
    hears_gap(&mut here, "news").await;
    hears_gap(&mut there, "news").await;
    relays(&mut here, &mut there, "news", "after").await;
    assert_eq!(here.event().await, publication("news", "after"));
    for node in [&a, &b] {
        node.becomes_ready().await;
        assert!(node.metric("tidegate_broker_reconnects_total").await >= 1.);
    }
}

#[tokio::test]
async fn every_channel_has_its_gap() {
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
async fn plain_clients_stay_and_hear_what_is_new() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut plain = Client::plain(&node, "news").await;
    let mut json = Client::subscribed(&node, "news").await;
    redis.kill_subscribers().await;
    hears_gap(&mut json, "news").await;
    redis.publish("news", "after").await;
    assert_eq!(plain.hears_text().await, "after");
}

#[tokio::test]
async fn in_a_stream_nothing_is_missing_without_a_gap() {
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
    stream.await.expect("the stream goes on");
    redis.publish("news", LAST.to_string()).await;

    let (mut next, mut jumps, mut gaps) = (100, 0, 0);
    while next <= LAST || gaps == 0 {
        let event = client.event().await;
        if event["type"] == "gap" {
            gaps += 1;
            continue;
        }
        let number = event["data"].as_u64().expect("a number");
        assert!(number >= next, "{number} comes twice or too late");
        jumps += u32::from(number > next);
        next = number + 1;
    }
    assert!(jumps <= 1 && gaps == 1, "{jumps} jumps and {gaps} gaps for one interruption");
}
