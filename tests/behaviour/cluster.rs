//! Redis Cluster: channels are spread over the masters, and the nodes follow a slot when it moves.

mod slot_migration;

use serde_json::json;
use testkit::client::{Client, publication};
use testkit::cluster::{Cluster, MASTERS};
use testkit::node::Node;
use testkit::{GAP_REASON, eventually};

const CHANNELS: usize = 12;

const TURNS: u64 = 300;
const BURST: u64 = 50;

async fn two_nodes(cluster: &Cluster) -> [Node; 2] {
    // The tests publish faster than the default limit.
    let settings = ["limits.publications_per_second=0"];
    let node = async || Node::start_at(&cluster.url(), &settings).await;
    let nodes = [node().await, node().await];
    for node in &nodes {
        node.wait_until_ready().await;
    }
    nodes
}

/// Asserts that the next event is a gap of `news`.
async fn expect_gap(client: &mut Client) {
    let gap = json!({"type": "gap", "channel": "news", "reason": GAP_REASON});
    assert_eq!(client.event().await, gap);
}

/// The next event other than a gap: a slot that moves slowly causes a gap when the move begins, too.
async fn next_publication(client: &mut Client) -> serde_json::Value {
    loop {
        let event = client.event().await;
        if event["type"] != "gap" {
            return event;
        }
    }
}

#[tokio::test]
async fn nodes_relay_the_channels_of_all_cluster_masters_in_order() {
    let cluster = Cluster::without_replicas().await;
    let nodes = two_nodes(&cluster).await;
    let names: Vec<_> = (0..CHANNELS).map(|number| format!("room:{number}")).collect();
    let mut masters = std::collections::HashSet::new();
    let (mut client_a, mut client_b) =
        (Client::json(&nodes[0]).await, Client::json(&nodes[1]).await);
    for name in &names {
        masters.insert(cluster.master_of(name).await);
        client_b.subscribe(name).await;
    }
    assert_eq!(masters.len(), MASTERS, "the channels are not spread over all masters");
    for number in 0..20 {
        for name in &names {
            let publish = json!({"type": "publish", "id": 2, "channel": name, "data": number});
            client_a.send_command(publish).await;
        }
    }
    let mut next = std::collections::HashMap::new();
    for _ in 0..20 * CHANNELS {
        let event = client_b.event().await;
        let channel = event["channel"].as_str().expect("a channel").to_owned();
        let expected = next.entry(channel.clone()).or_insert(0);
        assert_eq!(event, publication(&channel, *expected));
        *expected += 1;
    }
    cluster.publish("room:3", "5").await;
    assert_eq!(client_b.event().await, publication("room:3", 5));
    let list = nodes[1].get("/api/channels").await.json();
    assert!(
        list["channels"].as_array().expect("a list").iter().all(|it| it["nodes"] == 1),
        "{list}"
    );
}

#[tokio::test]
async fn subscribers_follow_a_cluster_slot_that_moves_and_get_a_gap() {
    let cluster = Cluster::without_replicas().await;
    let nodes = two_nodes(&cluster).await;
    let mut client_a = Client::subscribed(&nodes[0], "news").await;
    let mut client_b = Client::subscribed(&nodes[1], "news").await;
    let from = cluster.master_of("news").await;
    for turn in 1..=3 {
        let to = (from + turn) % MASTERS;
        cluster.migrate("news", to).await;
        expect_gap(&mut client_a).await;
        expect_gap(&mut client_b).await;
        client_a.publish("news", turn.into()).await;
        assert_eq!(next_publication(&mut client_b).await, publication("news", turn));
        assert_eq!(next_publication(&mut client_a).await, publication("news", turn));
        cluster.publish("news", "\"service\"").await;
        assert_eq!(next_publication(&mut client_b).await, publication("news", "service"));
        assert_eq!(next_publication(&mut client_a).await, publication("news", "service"));
    }
    for node in &nodes {
        node.wait_until_ready().await;
    }
}

#[tokio::test]
async fn moving_the_slot_of_a_nodes_probe_channel_causes_no_gap_for_clients() {
    const PROBES: &str = "tidegate_broker_probe_rtt_seconds_count";
    let cluster = Cluster::without_replicas().await;
    let [node, _] = two_nodes(&cluster).await;
    let mut client = Client::subscribed(&node, "news").await;
    let id = client.welcome["node"].as_str().expect("the node's name").to_owned();
    let before = node.metric("tidegate_broker_reconnects_total").await;
    // The probe channels in use are almost certainly among these twelve.
    for number in 0..12 {
        let own = format!("probe {number} {id}");
        let from = cluster.master_of(&own).await;
        if cluster.master_of("news").await != from {
            cluster.migrate(&own, (from + 1) % MASTERS).await;
        }
    }
    // Longer than the silence after which the node gives up a Redis connection.
    let probes = node.metric(PROBES).await + 24.;
    eventually("the node to receive its probes", async || {
        (node.metric(PROBES).await >= probes).then_some(())
    })
    .await;
    node.wait_until_ready().await;
    assert_eq!(node.metric("tidegate_broker_reconnects_total").await, before);
    cluster.publish("news", "1").await;
    assert_eq!(client.event().await, publication("news", 1));
}

#[tokio::test]
async fn publications_keep_their_order_while_their_cluster_slot_moves() {
    let cluster = Cluster::without_replicas().await;
    let nodes = two_nodes(&cluster).await;
    let mut client_a = Client::json(&nodes[0]).await;
    let mut client_b = Client::subscribed(&nodes[1], "news").await;
    let from = cluster.master_of("news").await;
    let publishing = async {
        for turn in 0..TURNS {
            // Many publications are in flight when the slot moves.
            for number in 0..BURST {
                let data = turn * BURST + number;
                let publish = json!({"type": "publish", "id": 2, "channel": "news", "data": data});
                client_a.send_command(publish).await;
            }
            for number in 0..BURST {
                assert_eq!(client_a.answer(2).await["type"], "published", "{turn} {number}");
            }
        }
        client_a
    };
    let moving = async {
        for turn in 1..=4 {
            cluster.migrate("news", (from + turn) % MASTERS).await;
        }
    };
    let (mut client_a, ()) = tokio::join!(publishing, moving);
    eventually("one subscription on the slot's new master", async || {
        client_a.publish("news", json!("last")).await;
        (cluster.subscribers("news").await == 1).then_some(())
    })
    .await;
    client_a.publish("news", json!("end")).await;
    let (mut next, mut gaps) = (0, 0);
    loop {
        let event = client_b.event().await;
        if event["type"] == "gap" {
            gaps += 1;
        } else if event["data"] == "end" {
            break;
        } else if let Some(number) = event["data"].as_u64() {
            assert!(number >= next, "{number} arrived twice or out of order");
            next = number + 1;
        }
    }
    assert!(gaps >= 1);
}

#[tokio::test]
async fn nodes_do_not_use_an_old_cluster_master_that_resumes_after_a_failover() {
    let cluster = Cluster::with_replicas().await;
    let nodes = two_nodes(&cluster).await;
    let mut client_a = Client::subscribed(&nodes[0], "news").await;
    let mut client_b = Client::subscribed(&nodes[1], "news").await;
    let old = cluster.master_of("news").await;
    cluster.servers[old].freeze();
    for client in [&mut client_a, &mut client_b] {
        expect_gap(client).await;
    }
    cluster.wait_for_failover(old, "news").await;
    cluster.servers[old].thaw();
    cluster.wait_until_complete().await;
    for node in &nodes {
        node.wait_until_ready().await;
    }
    assert_eq!(cluster.subscribers("news").await, 2);
    for number in 0..20 {
        client_a.publish("news", number.into()).await;
        assert_eq!(client_b.event().await, publication("news", number));
    }
}

#[tokio::test]
async fn clients_get_a_gap_and_resume_when_a_cluster_replica_replaces_its_dead_master() {
    let mut cluster = Cluster::with_replicas().await;
    let nodes = two_nodes(&cluster).await;
    let mut client_a = Client::subscribed(&nodes[0], "news").await;
    let mut client_b = Client::subscribed(&nodes[1], "news").await;
    let old = cluster.master_of("news").await;
    cluster.servers[old].kill();
    for node in &nodes {
        node.wait_until_unready().await;
    }
    expect_gap(&mut client_a).await;
    expect_gap(&mut client_b).await;
    for node in &nodes {
        node.wait_until_ready().await;
    }
    client_a.publish("news", "after".into()).await;
    assert_eq!(client_b.event().await, publication("news", "after"));
    assert_eq!(cluster.subscribers("news").await, 2);
}
