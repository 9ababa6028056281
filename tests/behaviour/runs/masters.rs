//! Runs while their Redis changes: a slot that moves, and failovers.

use serde_json::json;
use testkit::cluster::{Cluster, MASTERS};
use testkit::eventually;
use testkit::node::Node;
use testkit::sentinel::Sentinel;

use super::{RULES, after, end, ended, receive, refusal, subscribe, work};

#[tokio::test]
async fn a_run_goes_on_while_its_slot_moves_on_a_cluster() {
    let cluster = Cluster::without_replicas().await;
    let url = cluster.url();
    let nodes = [Node::start_at(&url, &[RULES]).await, Node::start_at(&url, &[RULES]).await];
    for node in &nodes {
        node.wait_until_ready().await;
    }
    let channel = "run:{x}1";
    let (mut client, _) = subscribe(&nodes[1], channel, json!({})).await;
    work(&nodes[0], channel, 1..=2).await;
    let to = (cluster.master_of(channel).await + 1) % MASTERS;
    let from = cluster.begin_move(channel, to).await;
    work(&nodes[0], channel, 3..=4).await;
    // The stream first, and the lease stays: the run must not count as abandoned there.
    cluster.move_key(channel, from, to).await;
    work(&nodes[0], channel, 5..=6).await;
    let renewed = nodes[1].post(&format!("/api/renew/{channel}"), &[], b"").await;
    assert_eq!(renewed.status, 200, "{renewed:?}");
    cluster.end_move(channel, from, to).await;
    let last = work(&nodes[0], channel, 7..=8).await;
    let position = end(&nodes[1], channel, "done").await;
    assert_eq!(position, after(&last, 1));
    receive(&mut client, 1..=8, &ended(channel, "done", &position)).await;
    let late = nodes[0].post(&format!("/api/publish/{channel}"), &[], b"9").await;
    assert_eq!(refusal(&late).1, "ended");
}

#[tokio::test]
async fn a_run_that_ends_while_its_slot_moves_stays_ended_on_a_cluster() {
    let cluster = Cluster::without_replicas().await;
    let node = Node::start_at(&cluster.url(), &[RULES]).await;
    node.wait_until_ready().await;
    let channel = "run:{x}1";
    let (mut client, _) = subscribe(&node, channel, json!({})).await;
    work(&node, channel, 1..=2).await;
    let to = (cluster.master_of(channel).await + 1) % MASTERS;
    let from = cluster.begin_move(channel, to).await;
    let position = end(&node, channel, "done").await;
    let end = ended(channel, "done", &position);
    receive(&mut client, 1..=2, &end).await;
    cluster.end_move(channel, from, to).await;
    let late = node.post(&format!("/api/publish/{channel}"), &[], b"3").await;
    assert_eq!(refusal(&late).1, "ended");
    let (mut client, _) = subscribe(&node, channel, json!({"since": "first"})).await;
    receive(&mut client, 1..=2, &end).await;
}

#[tokio::test]
async fn a_run_goes_on_after_a_failover_and_an_ended_one_stays_ended_with_sentinels() {
    let sentinel = Sentinel::start().await;
    let nodes = [
        Node::start_at(&sentinel.url(), &[RULES]).await,
        Node::start_at(&sentinel.url(), &[RULES]).await,
    ];
    for node in &nodes {
        node.wait_until_ready().await;
    }
    let (mut client, _) = subscribe(&nodes[1], "run:1", json!({})).await;
    work(&nodes[0], "run:1", 1..=3).await;
    work(&nodes[0], "run:2", 1..=1).await;
    let ended_before = end(&nodes[0], "run:2", "done").await;
    let old = sentinel.master().await;
    sentinel.servers[old].freeze();
    sentinel.wait_for_failover(old).await;
    eventually("a publication to be accepted", async || {
        let answer = nodes[0].post("/api/publish/run:1", &[], b"4").await;
        (answer.status == 202).then_some(())
    })
    .await;
    eventually("the run to be ended", async || {
        let answer = super::try_end(&nodes[1], "run:1", &json!({"reason": "done"})).await;
        // An attempt that was not confirmed by a replica may have ended it.
        matches!(answer.status, 200 | 409).then_some(())
    })
    .await;
    let mut data = Vec::new();
    loop {
        let event = client.event().await;
        match event["type"].as_str() {
            // The node could not know whether an attempt was published.
            Some("publication") => data.push(event["data"].as_u64().unwrap()),
            Some("ended") => break assert_eq!(event["reason"], "done"),
            _ => {}
        }
    }
    data.dedup();
    assert_eq!(data, [1, 2, 3, 4]);
    let (mut late, _) = subscribe(&nodes[0], "run:2", json!({"since": "first"})).await;
    receive(&mut late, 1..=1, &ended("run:2", "done", &ended_before)).await;
    let refused = nodes[0].post("/api/publish/run:2", &[], b"2").await;
    assert_eq!(refusal(&refused).1, "ended");
    sentinel.servers[old].thaw();
}
