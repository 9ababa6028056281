//! What nodes know of each other, and the shedding of what one has too many.

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
async fn a_node_by_itself_knows_itself() {
    let node = Node::alone(&[]).await;
    let _client = Client::plain(&node, "news").await;
    node.metric_becomes(NODES, 1.).await;
    node.metric_becomes(CONNECTIONS, 1.).await;
}

#[tokio::test]
async fn nodes_know_each_other_until_they_leave_or_crash() {
    let redis = Redis::start().await;
    let a = Node::on(&redis, &[]).await;
    let mut b = Node::on(&redis, &["drain.delay=0s", "drain.period=100ms"]).await;
    let mut c = Node::on(&redis, &[]).await;
    let (_here, there) = (Client::plain(&a, "news").await, Client::plain(&b, "news").await);
    for node in [&a, &b, &c] {
        node.metric_becomes(NODES, 3.).await;
        node.metric_becomes(CONNECTIONS, 2.).await;
    }
    drop(there);
    b.signal(Signal::TERM);
    assert_eq!(b.process.exit_code().await, 0);
    a.metric_becomes(NODES, 2.).await;
    c.process.kill();
    a.metric_becomes(NODES, 1.).await;
    a.metric_becomes(CONNECTIONS, 1.).await;
}

#[tokio::test]
async fn so_do_those_behind_sentinels_and_on_a_cluster() {
    for fleet in [Fleet::sentinel(&[]).await, Fleet::cluster(&[]).await] {
        let [a, b] = fleet.nodes();
        a.metric_becomes(NODES, 2.).await;
        b.metric_becomes(NODES, 2.).await;
    }
}

#[tokio::test]
async fn nobody_can_speak_for_a_node_on_a_channel_of_its_name() {
    let redis = Redis::start().await;
    let a = Node::on(&redis, &[]).await;
    let mut client = Client::json(&a).await;
    for name in ["fleet of nodes", "fleet\u{a0}of\u{a0}nodes"] {
        let data = "0123456789ab serving 1000 600000";
        let command = json!({"type": "publish", "id": 1, "channel": name, "text": data});
        assert_eq!(client.ask(command).await["type"], "error", "{name}");
    }
    let answer = a.post("/api/publish/fleet%20of%20nodes", &[], b"0123456789ab serving 9 9").await;
    assert_eq!(answer.status, 400);
    let b = Node::on(&redis, &[]).await;
    // By now what was said before would have come.
    a.metric_becomes(NODES, 2.).await;
    b.metric_becomes(CONNECTIONS, 1.).await;
    assert_eq!(a.metric(NODES).await, 2.);
}

#[tokio::test]
async fn one_that_takes_no_more_has_no_share_that_others_would_shed_for() {
    let redis = Redis::start().await;
    let settings = ["drain.rebalance_percent=20", "drain.rebalance_after=3s"];
    let full = ["drain.rebalance_percent=20", "limits.connections_max=1"];
    let short = ["drain.rebalance_percent=20", "limits.memory_max=24MiB"];
    let full = Node::on(&redis, &full).await;
    let short = Node::unready_on(&redis, &short).await;
    let _the_only_one = Client::plain(&full, "news").await;
    let even = [Node::on(&redis, &settings).await, Node::on(&redis, &settings).await];
    let mut clients = Vec::new();
    for node in &even {
        node.metric_becomes(NODES, 4.).await;
    }
    for number in 0..2 * CLIENTS {
        clients.push(Client::plain(&even[number % 2], "news").await);
    }
    assert!(!short.is_ready().await && full.is_ready().await);
    for node in &even {
        node.metric_becomes(CONNECTIONS, (2 * CLIENTS + 1) as f64).await;
        // Looks at itself twice a second: more than long enough to have begun.
        let probed = "tidegate_broker_probe_rtt_seconds_count";
        let before = node.metric(probed).await;
        eventually("some seconds of its life", async || {
            (node.metric(probed).await >= before + 5.).then_some(())
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
async fn a_node_with_too_many_sheds_down_to_the_mean() {
    let redis = Redis::start().await;
    // Pings, so that those who stay hear something.
    let settings =
        ["drain.rebalance_percent=20", "drain.rebalance_after=3s", "session.ping_interval=5s"];
    let a = Node::on(&redis, &settings).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::subscribed(&a, "news").await);
    }
    let b = Node::on(&redis, &settings).await;
    let elsewhere = b.public;
    for mut client in clients {
        tokio::spawn(async move {
            while let Some(event) = client.try_event().await {
                if event["type"] == "reconnect" {
                    assert_eq!(event["reason"], "rebalance");
                    let after = event["after_ms"].as_u64().expect("how long to wait");
                    assert_eq!(u16::from(client.is_closed().await.code), 1012);
                    sleep(Duration::from_millis(after)).await;
                    client = Client::through(elsewhere, "/ws").await.welcomed().await;
                }
            }
        });
    }
    let half = (CLIENTS / 2) as f64;
    b.metric_becomes("tidegate_connections", half).await;
    a.metric_becomes("tidegate_connections", half).await;
    for node in [&a, &b] {
        node.metric_becomes(CONNECTIONS, CLIENTS as f64).await;
    }
    let shed = "tidegate_connections_closed_total{reason=\"rebalance\"}";
    assert_eq!((a.metric(shed).await, b.metric(shed).await), (half, 0.));
    assert!(a.is_ready().await && b.is_ready().await);
}
