//! A replica that takes over without its master's consent, while the master still accepts publications.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use testkit::client::Client;
use testkit::cluster::Cluster;
use testkit::eventually;
use testkit::node::Node;
use testkit::redis::Redis;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{LONG, subscribe};

const FAILOVERS: u64 = 4;

/// Publications that are answered, with success or an error, between two failovers.
const BETWEEN: u64 = 150;

/// How long the test waits for a failover, and how often it requests one.
const VOTE_TIME: Duration = Duration::from_secs(4);
const TRIES_MAX: u32 = 5;

/// Publications in flight at a time.
const IN_FLIGHT: u64 = 16;

/// Publishes numbers until the receiver of the count of answers is dropped.
async fn publish_on(mut client: Client, answered: watch::Sender<u64>) {
    let mut next = 0;
    while !answered.is_closed() {
        for number in next..next + IN_FLIGHT {
            let data = json!({"type": "publish", "id": 2, "channel": "h:1", "data": number});
            client.send_command(data).await;
        }
        for _ in 0..IN_FLIGHT {
            client.answer(2).await;
        }
        next += IN_FLIGHT;
        answered.send_replace(next);
    }
}

/// The replica of a master of the cluster.
async fn replica_of<'a>(cluster: &'a Cluster, master: &Redis) -> &'a Redis {
    let port = master.address.port().to_string();
    eventually("a synchronized replica", async || {
        for server in &cluster.servers {
            let of = server.info("replication", "master_port").await;
            let link = server.info("replication", "master_link_status").await;
            if of.as_ref() == Some(&port) && link.as_deref() == Some("up") {
                return Some(server);
            }
        }
        None
    })
    .await
}

/// Makes a replica take over the channel's slot. It retries because the other masters may refuse their vote so soon after
/// the last election.
async fn take_over(cluster: &Cluster) {
    let old = cluster.master_of("h:1").await;
    let replica = replica_of(cluster, &cluster.servers[old]).await;
    for _ in 0..TRIES_MAX {
        let _: String = replica.query(&["CLUSTER", "FAILOVER", "FORCE"]).await;
        if timeout(VOTE_TIME, cluster.wait_for_failover(old, "h:1")).await.is_ok() {
            return;
        }
    }
    panic!("no replica takes over");
}

/// Receives publications until "end", asserts that none arrives twice, and returns how many arrived.
async fn receive_each_once(mut client: Client) -> usize {
    let (mut numbers, mut positions) = (HashSet::new(), HashSet::new());
    loop {
        let event = client.event().await;
        match event["type"].as_str() {
            Some("publication") if event["data"] == "end" => return numbers.len(),
            Some("publication") => {
                let number = event["data"].as_u64().expect("a number");
                assert!(numbers.insert(number), "arrived twice: {event}");
                if let Some(position) = event["position"].as_str() {
                    assert!(
                        positions.insert(position.to_owned()),
                        "a position arrived twice: {event}"
                    );
                }
            }
            Some("gap") => {}
            _ => panic!("{event}"),
        }
    }
}

#[tokio::test]
async fn a_forced_cluster_failover_delivers_no_publication_twice() {
    let cluster = Cluster::with_replicas().await;
    let node = async || Node::start_at(&cluster.url(), &[LONG]).await;
    let nodes = [node().await, node().await];
    let mut receiving = Vec::new();
    for node in &nodes {
        node.wait_until_ready().await;
        let mut client = Client::json(node).await;
        subscribe(&mut client, "h:1").await;
        receiving.push(tokio::spawn(receive_each_once(client)));
    }
    let (answered, mut progress) = watch::channel(0);
    let publishing = tokio::spawn(publish_on(Client::json(&nodes[0]).await, answered));
    for turn in 1..=FAILOVERS {
        let expected = progress.borrow().max(turn * BETWEEN) + BETWEEN;
        progress.wait_for(|it| *it >= expected).await.expect("the publisher still runs");
        take_over(&cluster).await;
    }
    drop(progress);
    publishing.await.expect("the publisher ends without a panic");
    for node in &nodes {
        node.wait_until_ready().await;
    }
    let mut last = Client::json(&nodes[0]).await;
    let end = json!({"type": "publish", "id": 3, "channel": "h:1", "data": "end"});
    eventually("the end to be published", async || {
        (last.request(end.clone()).await["type"] == "published").then_some(())
    })
    .await;
    for client in receiving {
        let count = client.await.expect("each publication arrives once");
        assert!(count as u64 > BETWEEN, "{count}");
    }
}
