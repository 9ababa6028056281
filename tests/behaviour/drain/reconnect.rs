//! What a draining node sends its clients: when to reconnect, and the answers to their last commands.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::client::Client;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::raw::RawClient;
use testkit::redis::Redis;

const CLIENTS: usize = 60;
const PUBLICATIONS: i64 = 10;

#[tokio::test]
async fn the_reconnect_times_of_drained_json_clients_keep_to_reconnects_per_second() {
    let settings = ["drain.delay=0s", "drain.period=1s", "drain.reconnects_per_second=20"];
    let mut node = Node::standalone(&settings).await;
    let mut leaving = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Client::subscribed(&node, "news").await;
        leaving.push(tokio::spawn(async move {
            let reconnect = client.event().await;
            let received = Instant::now();
            assert_eq!(reconnect["type"], "reconnect");
            assert_eq!(reconnect["reason"], "drain");
            let after = reconnect["after_ms"].as_u64().expect("after_ms is a number");
            assert_eq!(u16::from(client.receive_close().await.code), 1012);
            (received, received + Duration::from_millis(after))
        }));
    }
    node.signal(Signal::TERM);
    let (mut received, mut back) = (Vec::new(), Vec::new());
    for client in leaving {
        let (received_at, back_at) = client.await.expect("the client's task ends");
        received.push(received_at);
        back.push(back_at);
    }
    received.sort();
    back.sort();
    assert!(
        received[CLIENTS - 1] - received[0] < Duration::from_secs(2),
        "the reconnect events took longer than the period of one second"
    );
    // 60 clients at 20 a second take three seconds; half a second is the tolerance for a busy machine.
    let spread = back[CLIENTS - 1] - back[0];
    assert!(spread >= Duration::from_millis(2500), "all 60 reconnect within {spread:?}");
    let most = back.windows(31).map(|some| some[30] - some[0]).min().expect("more than 31 clients");
    assert!(most >= Duration::from_secs(1), "31 reconnect within {most:?}");
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_drained_plain_client_receives_only_the_close_frame() {
    let node = Node::standalone(&["drain.delay=0s", "drain.period=100ms"]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    node.signal(Signal::TERM);
    assert_eq!(raw.frame().await.close_code(), 1012);
}

#[tokio::test]
async fn a_draining_node_answers_earlier_commands_before_it_sends_reconnect() {
    let redis = Redis::start().await;
    let settings = ["drain.delay=0s", "drain.period=100ms", "broker.publish_timeout=10s"];
    let mut node = Node::on(&redis, &settings).await;
    let mut client = Client::subscribed(&node, "news").await;
    redis.freeze();
    send_publications(&mut client, &node).await;
    node.signal(Signal::TERM);
    node.wait_for_metric("tidegate_drain_phase", 2.).await;
    let late = json!({"type": "publish", "id": 99, "channel": "news", "data": 99});
    client.send_command(late).await;
    redis.thaw();
    for number in 0..PUBLICATIONS {
        assert_eq!(client.answer(number).await["type"], "published", "{number}");
    }
    let mut received = Vec::new();
    loop {
        let event = client.event().await;
        match event["type"].as_str() {
            Some("publication") => received.push(event["data"].as_i64().expect("a number")),
            Some("reconnect") => break,
            _ => panic!("{event}"),
        }
    }
    let all: Vec<i64> = (0..PUBLICATIONS).collect();
    assert_eq!(
        received, all,
        "the client's publications from before the drain, and none from after"
    );
    assert_eq!(u16::from(client.receive_close().await.code), 1012);
    drop(client);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_draining_node_waits_for_a_hanging_redis_for_publish_timeout_at_most() {
    let redis = Redis::start().await;
    let settings = ["drain.delay=0s", "drain.period=100ms", "broker.publish_timeout=1s"];
    let mut node = Node::on(&redis, &settings).await;
    let mut client = Client::json(&node).await;
    redis.freeze();
    send_publications(&mut client, &node).await;
    node.signal(Signal::TERM);
    for number in 0..PUBLICATIONS {
        assert_eq!(client.answer(number).await["code"], "unavailable", "{number}");
    }
    assert_eq!(client.event().await["type"], "reconnect");
    assert_eq!(u16::from(client.receive_close().await.code), 1012);
    drop(client);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn clients_whose_drain_a_hanging_redis_delayed_get_spread_reconnect_times() {
    let redis = Redis::start().await;
    let settings = ["drain.delay=0s", "drain.period=1s", "broker.publish_timeout=2s"];
    let mut node = Node::on(&redis, &settings).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::json(&node).await);
    }
    redis.freeze();
    for client in &mut clients {
        client
            .send_command(json!({"type": "publish", "id": 1, "channel": "news", "data": 1}))
            .await;
    }
    let received = "tidegate_publications_received_total{protocol=\"json\"}";
    node.wait_for_metric(received, CLIENTS as f64).await;
    node.signal(Signal::TERM);
    let mut after = Vec::new();
    for client in &mut clients {
        assert_eq!(client.answer(1).await["code"], "unavailable");
        after.push(client.event().await["after_ms"].as_u64().expect("after_ms is a number"));
    }
    after.sort();
    // The events arrive almost together, after the planned period, so the delays themselves must be spread.
    let spread = after[CLIENTS - 1] - after[0];
    assert!(spread >= 300, "all reconnect within {spread} ms");
    drop(clients);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_long_publish_timeout_does_not_delay_a_drained_nodes_exit() {
    let redis = Redis::start().await;
    let settings = ["drain.delay=0s", "drain.period=100ms", "broker.publish_timeout=60s"];
    let mut node = Node::on(&redis, &settings).await;
    let mut client = Client::json(&node).await;
    redis.freeze();
    send_publications(&mut client, &node).await;
    let signalled = Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(client.event().await["type"], "reconnect", "an answer to a publication");
    assert_eq!(u16::from(client.receive_close().await.code), 1012);
    drop(client);
    assert_eq!(node.process.exit_code().await, 0);
    assert!(
        signalled.elapsed() < Duration::from_secs(10),
        "exited after {:?}",
        signalled.elapsed()
    );
}

/// Sends publications while Redis is frozen, and returns when the node has read them.
async fn send_publications(client: &mut Client, node: &Node) {
    for number in 0..PUBLICATIONS {
        let command = json!({"type": "publish", "id": number, "channel": "news", "data": number});
        client.send_command(command).await;
    }
    let received = "tidegate_publications_received_total{protocol=\"json\"}";
    node.wait_for_metric(received, PUBLICATIONS as f64).await;
}
