//! The nodes' fleet messages, and shedding by a node that has more connections than the mean.

use std::time::Duration;

use serde_json::json;
use testkit::client::Client;
use testkit::eventually;
use testkit::fleet::Fleet;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::redis::Redis;
use tokio::time::sleep;

const NODES: &str = "tidegate_fleet_nodes";
const CONNECTIONS: &str = "tidegate_fleet_connections";
const CLIENTS: usize = 60;

#[tokio::test]
async fn a_node_without_redis_counts_itself_and_its_connections() {
    let node = Node::standalone(&[]).await;
    let _client = Client::plain(&node, "news").await;
    node.wait_for_metric(NODES, 1.).await;
    node.wait_for_metric(CONNECTIONS, 1.).await;
}

#[tokio::test]
async fn nodes_count_each_other_until_a_node_drains_or_crashes() {
    let redis = Redis::start().await;
    let a = Node::on(&redis, &[]).await;
    let mut b = Node::on(&redis, &["drain.delay=0s", "drain.period=100ms"]).await;
    let mut c = Node::on(&redis, &[]).await;
    let (_client_a, client_b) = (Client::plain(&a, "news").await, Client::plain(&b, "news").await);
    for node in [&a, &b, &c] {
        node.wait_for_metric(NODES, 3.).await;
        node.wait_for_metric(CONNECTIONS, 2.).await;
    }
    drop(client_b);
    b.signal(Signal::TERM);
    assert_eq!(b.process.exit_code().await, 0);
    a.wait_for_metric(NODES, 2.).await;
    c.process.kill();
    a.wait_for_metric(NODES, 1.).await;
    a.wait_for_metric(CONNECTIONS, 1.).await;
}

#[tokio::test]
async fn nodes_count_each_other_with_sentinels_and_on_a_cluster() {
    for fleet in [Fleet::sentinel(&[]).await, Fleet::cluster(&[]).await] {
        let [a, b] = fleet.nodes();
        a.wait_for_metric(NODES, 2.).await;
        b.wait_for_metric(NODES, 2.).await;
    }
}

#[tokio::test]
async fn clients_and_the_api_cannot_publish_on_the_channel_of_fleet_messages() {
    let redis = Redis::start().await;
    let a = Node::on(&redis, &[]).await;
    let mut client = Client::json(&a).await;
    for name in ["fleet of nodes", "fleet\u{a0}of\u{a0}nodes"] {
        let data = "0123456789ab serving 1000 600000";
        let command = json!({"type": "publish", "id": 1, "channel": name, "text": data});
        assert_eq!(client.request(command).await["type"], "error", "{name}");
    }
    let answer = a.post("/api/publish/fleet%20of%20nodes", &[], b"0123456789ab serving 9 9").await;
    assert_eq!(answer.status, 400);
    let b = Node::on(&redis, &[]).await;
    // A forged fleet message would have arrived by now.
    a.wait_for_metric(NODES, 2.).await;
    b.wait_for_metric(CONNECTIONS, 1.).await;
    assert_eq!(a.metric(NODES).await, 2.);
}

#[tokio::test]
async fn nodes_do_not_shed_connections_for_a_node_that_is_full_or_unready() {
    let redis = Redis::start().await;
    let settings = ["drain.rebalance_percent=20", "drain.rebalance_after=3s"];
    let full = ["drain.rebalance_percent=20", "limits.connections_max=1"];
    let low_on_memory = ["drain.rebalance_percent=20", "limits.memory_max=24MiB"];
    let full = Node::on(&redis, &full).await;
    let low_on_memory = Node::start_on(&redis, &low_on_memory).await;
    let _only_client = Client::plain(&full, "news").await;
    let even = [Node::on(&redis, &settings).await, Node::on(&redis, &settings).await];
    let mut clients = Vec::new();
    for node in &even {
        node.wait_for_metric(NODES, 4.).await;
    }
    for number in 0..2 * CLIENTS {
        clients.push(Client::plain(&even[number % 2], "news").await);
    }
    assert!(!low_on_memory.is_ready().await && full.is_ready().await);
    for node in &even {
        node.wait_for_metric(CONNECTIONS, (2 * CLIENTS + 1) as f64).await;
        // The node evaluates the fleet twice a second: five probes are more than enough for shedding to begin.
        let probes = "tidegate_broker_probe_rtt_seconds_count";
        let before = node.metric(probes).await;
        eventually("five probes", async || {
            (node.metric(probes).await >= before + 5.).then_some(())
        })
        .await;
    }
    for node in &even {
        let shed = "tidegate_connections_closed_total{reason=\"rebalance\"}";
        assert_eq!(node.metric(shed).await, 0.);
        assert_eq!(node.metric("tidegate_connections").await, CLIENTS as f64);
    }
}

#[tokio::test]
async fn a_node_with_more_connections_than_the_mean_sheds_down_to_it() {
    let redis = Redis::start().await;
    // Pings, so that the clients that stay receive frames.
    let settings =
        ["drain.rebalance_percent=20", "drain.rebalance_after=3s", "session.ping_interval=5s"];
    let a = Node::on(&redis, &settings).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::subscribed(&a, "news").await);
    }
    let b = Node::on(&redis, &settings).await;
    let other_node = b.public;
    for mut client in clients {
        tokio::spawn(async move {
            while let Some(event) = client.try_event().await {
                if event["type"] == "reconnect" {
                    assert_eq!(event["reason"], "rebalance");
                    let after = event["after_ms"].as_u64().expect("after_ms is a number");
                    assert_eq!(u16::from(client.receive_close().await.code), 1012);
                    sleep(Duration::from_millis(after)).await;
                    client = Client::open_at(other_node, "/ws").await.with_welcome().await;
                }
            }
        });
    }
    let half = (CLIENTS / 2) as f64;
    b.wait_for_metric("tidegate_connections", half).await;
    a.wait_for_metric("tidegate_connections", half).await;
    for node in [&a, &b] {
        node.wait_for_metric(CONNECTIONS, CLIENTS as f64).await;
    }
    let shed = "tidegate_connections_closed_total{reason=\"rebalance\"}";
    assert_eq!((a.metric(shed).await, b.metric(shed).await), (half, 0.));
    assert!(a.is_ready().await && b.is_ready().await);
}
