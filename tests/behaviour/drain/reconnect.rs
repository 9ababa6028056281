//! What clients are told: when to be back, and that what they asked for was done.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::client::Client;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::raw::Raw;
use testkit::redis::Redis;

const CLIENTS: usize = 60;
const PUBLICATIONS: i64 = 10;

#[tokio::test]
async fn json_clients_are_told_to_come_back_below_the_cap() {
    let settings = ["drain.delay=0s", "drain.period=1s", "drain.reconnects_per_second=20"];
    let mut node = Node::alone(&settings).await;
    let mut leaving = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Client::subscribed(&node, "news").await;
        leaving.push(tokio::spawn(async move {
            let reconnect = client.event().await;
            let told = Instant::now();
            assert_eq!(reconnect["type"], "reconnect");
            assert_eq!(reconnect["reason"], "drain");
            let after = reconnect["after_ms"].as_u64().expect("how long to wait");
            assert_eq!(u16::from(client.is_closed().await.code), 1012);
            (told, told + Duration::from_millis(after))
        }));
    }
    node.signal(Signal::TERM);
    let (mut told, mut back) = (Vec::new(), Vec::new());
    for client in leaving {
        let (told_at, back_at) = client.await.expect("it is told");
        told.push(told_at);
        back.push(back_at);
    }
    told.sort();
    back.sort();
    assert!(told[CLIENTS - 1] - told[0] < Duration::from_secs(2), "the period is one second");
    // 60 at 20 a second are three seconds; this machine may be late, but never by that much.
    let spread = back[CLIENTS - 1] - back[0];
    assert!(spread >= Duration::from_millis(2500), "all are back within {spread:?}");
    let most = back.windows(31).map(|some| some[30] - some[0]).min().expect("there are as many");
    assert!(most >= Duration::from_secs(1), "31 are back within {most:?}");
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn plain_clients_hear_nothing_but_the_close() {
    let node = Node::alone(&["drain.delay=0s", "drain.period=100ms"]).await;
    let mut raw = Raw::open(&node, "/ws/news").await;
    node.signal(Signal::TERM);
    assert_eq!(raw.frame().await.close_code(), 1012);
}

#[tokio::test]
async fn what_was_asked_for_is_answered_first() {
    let redis = Redis::start().await;
    let settings = ["drain.delay=0s", "drain.period=100ms", "broker.publish_timeout=10s"];
    let mut node = Node::on(&redis, &settings).await;
    let mut client = Client::subscribed(&node, "news").await;
    redis.freeze();
    publishes(&mut client, &node).await;
    node.signal(Signal::TERM);
    node.metric_becomes("tidegate_drain_phase", 2.).await;
    let late = json!({"type": "publish", "id": 99, "channel": "news", "data": 99});
    client.command(late).await;
    redis.thaw();
    for number in 0..PUBLICATIONS {
        assert_eq!(client.answer(number).await["type"], "published", "{number}");
    }
    let mut heard = Vec::new();
    loop {
        let event = client.event().await;
        match event["type"].as_str() {
            Some("publication") => heard.push(event["data"].as_i64().expect("a number")),
            Some("reconnect") => break,
            _ => panic!("{event}"),
        }
    }
    let all: Vec<i64> = (0..PUBLICATIONS).collect();
    assert_eq!(heard, all, "its own, and none that it said when it was told to go");
    assert_eq!(u16::from(client.is_closed().await.code), 1012);
    drop(client);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_broker_that_hangs_is_not_waited_for_beyond_its_time() {
    let redis = Redis::start().await;
    let settings = ["drain.delay=0s", "drain.period=100ms", "broker.publish_timeout=1s"];
    let mut node = Node::on(&redis, &settings).await;
    let mut client = Client::json(&node).await;
    redis.freeze();
    publishes(&mut client, &node).await;
    node.signal(Signal::TERM);
    for number in 0..PUBLICATIONS {
        assert_eq!(client.answer(number).await["code"], "unavailable", "{number}");
    }
    assert_eq!(client.event().await["type"], "reconnect");
    assert_eq!(u16::from(client.is_closed().await.code), 1012);
    drop(client);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn those_whom_the_broker_held_up_do_not_come_back_all_at_once() {
    let redis = Redis::start().await;
    let settings = ["drain.delay=0s", "drain.period=1s", "broker.publish_timeout=2s"];
    let mut node = Node::on(&redis, &settings).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::json(&node).await);
    }
    redis.freeze();
    for client in &mut clients {
        client.command(json!({"type": "publish", "id": 1, "channel": "news", "data": 1})).await;
    }
    let received = "tidegate_publications_received_total{protocol=\"json\"}";
    node.metric_becomes(received, CLIENTS as f64).await;
    node.signal(Signal::TERM);
    let mut after = Vec::new();
    for client in &mut clients {
        assert_eq!(client.answer(1).await["code"], "unavailable");
        after.push(client.event().await["after_ms"].as_u64().expect("how long to wait"));
    }
    after.sort();
    // They hear it within a moment of each other, when the time of the plan is over.
    let spread = after[CLIENTS - 1] - after[0];
    assert!(spread >= 300, "all are back within {spread} ms");
    drop(clients);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_long_publish_timeout_does_not_make_the_node_late() {
    let redis = Redis::start().await;
    let settings = ["drain.delay=0s", "drain.period=100ms", "broker.publish_timeout=60s"];
    let mut node = Node::on(&redis, &settings).await;
    let mut client = Client::json(&node).await;
    redis.freeze();
    publishes(&mut client, &node).await;
    let told = Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(client.event().await["type"], "reconnect", "and no word of the publications");
    assert_eq!(u16::from(client.is_closed().await.code), 1012);
    drop(client);
    assert_eq!(node.process.exit_code().await, 0);
    assert!(told.elapsed() < Duration::from_secs(10), "gone after {:?}", told.elapsed());
}

/// Sends publications that the node has read when this returns; Redis cannot answer them.
async fn publishes(client: &mut Client, node: &Node) {
    for number in 0..PUBLICATIONS {
        let command = json!({"type": "publish", "id": number, "channel": "news", "data": number});
        client.command(command).await;
    }
    let received = "tidegate_publications_received_total{protocol=\"json\"}";
    node.metric_becomes(received, PUBLICATIONS as f64).await;
}
