//! Redis is a cluster: channels are shared out among its masters, and follow their slots.

use serde_json::json;

use crate::support::client::{Client, publication};
use crate::support::node::Node;
use crate::support::sharded::Sharded;
use crate::support::{GAP_REASON, eventually};

const CHANNELS: usize = 12;

async fn two_nodes(cluster: &Sharded) -> [Node; 2] {
    let nodes = [Node::at(&cluster.url(), &[]).await, Node::at(&cluster.url(), &[]).await];
    for node in &nodes {
        node.becomes_ready().await;
    }
    nodes
}

/// The next event is a gap of `news`.
async fn hears_gap(client: &mut Client) {
    let gap = json!({"type": "gap", "channel": "news", "reason": GAP_REASON});
    assert_eq!(client.event().await, gap);
}

#[tokio::test]
async fn channels_of_all_masters_are_relayed_in_order() {
    let cluster = Sharded::of_masters().await;
    let nodes = two_nodes(&cluster).await;
    let names: Vec<_> = (0..CHANNELS).map(|number| format!("room:{number}")).collect();
    let mut masters = std::collections::HashSet::new();
    let (mut here, mut there) = (Client::json(&nodes[0]).await, Client::json(&nodes[1]).await);
    for name in &names {
        masters.insert(cluster.master_of(name, None).await.expect("a master"));
        there.subscribe(name).await;
    }
    assert_eq!(masters.len(), 3, "the names lie at all masters");
    for number in 0..20 {
        for name in &names {
            let publish = json!({"type": "publish", "id": 2, "channel": name, "data": number});
            here.command(publish).await;
        }
    }
    let mut next = std::collections::HashMap::new();
    for _ in 0..20 * CHANNELS {
        let event = there.event().await;
        let channel = event["channel"].as_str().expect("a channel").to_owned();
        let due = next.entry(channel.clone()).or_insert(0);
        assert_eq!(event, publication(&channel, *due));
        *due += 1;
    }
    cluster.publish("room:3", "5", None).await;
    assert_eq!(there.event().await, publication("room:3", 5));
    let list = nodes[1].get("/api/channels").await.json();
    assert!(
        list["channels"].as_array().expect("a list").iter().all(|it| it["nodes"] == 1),
        "{list}"
    );
}

#[tokio::test]
async fn a_slot_that_moves_is_followed_and_has_a_gap() {
    let cluster = Sharded::of_masters().await;
    let nodes = two_nodes(&cluster).await;
    let mut here = Client::subscribed(&nodes[0], "news").await;
    let mut there = Client::subscribed(&nodes[1], "news").await;
    let from = cluster.master_of("news", None).await.expect("a master");
    for turn in 1..=3 {
        let to = (from + turn) % 3;
        cluster.migrate("news", to).await;
        hears_gap(&mut here).await;
        hears_gap(&mut there).await;
        here.publish("news", turn.into()).await;
        assert_eq!(there.event().await, publication("news", turn));
        assert_eq!(here.event().await, publication("news", turn));
        eventually("all to agree", async || cluster.master_of("news", None).await).await;
        cluster.publish("news", "\"service\"", None).await;
        assert_eq!(there.event().await, publication("news", "service"));
        assert_eq!(here.event().await, publication("news", "service"));
    }
    for node in &nodes {
        node.becomes_ready().await;
    }
}

#[tokio::test]
async fn publications_go_on_while_a_slot_moves_and_keep_their_order() {
    let cluster = Sharded::of_masters().await;
    let nodes = two_nodes(&cluster).await;
    let mut here = Client::json(&nodes[0]).await;
    let mut there = Client::subscribed(&nodes[1], "news").await;
    let from = cluster.master_of("news", None).await.expect("a master");
    let publishing = async {
        for number in 0..600 {
            let publish = json!({"type": "publish", "id": 2, "channel": "news", "data": number});
            assert_eq!(here.ask(publish).await["type"], "published", "{number}");
        }
        here
    };
    let moving = async {
        for turn in 1..=4 {
            cluster.migrate("news", (from + turn) % 3).await;
            eventually("all to agree", async || cluster.master_of("news", None).await).await;
        }
    };
    let (mut here, ()) = tokio::join!(publishing, moving);
    eventually("the last one to arrive", async || {
        here.publish("news", json!("last")).await;
        (cluster.subscribers("news", None).await == 1).then_some(())
    })
    .await;
    here.publish("news", json!("end")).await;
    let (mut next, mut gaps) = (0, 0);
    loop {
        let event = there.event().await;
        if event["type"] == "gap" {
            gaps += 1;
        } else if event["data"] == "end" {
            break;
        } else if let Some(number) = event["data"].as_u64() {
            assert!(number >= next, "{number} comes twice or too late");
            next = number + 1;
        }
    }
    assert!(gaps >= 1);
}

#[tokio::test]
async fn an_old_master_that_wakes_up_is_not_used_again() {
    let cluster = Sharded::with_replicas().await;
    let nodes = two_nodes(&cluster).await;
    let mut here = Client::subscribed(&nodes[0], "news").await;
    let mut there = Client::subscribed(&nodes[1], "news").await;
    let old = cluster.master_of("news", None).await.expect("a master");
    cluster.servers[old].freeze();
    for client in [&mut here, &mut there] {
        hears_gap(client).await;
    }
    let new = eventually("another master", async || cluster.master_of("news", Some(old)).await);
    assert_ne!(new.await, old);
    cluster.servers[old].thaw();
    eventually("all to agree", async || cluster.master_of("news", None).await).await;
    for node in &nodes {
        node.becomes_ready().await;
    }
    assert_eq!(cluster.subscribers("news", None).await, 2);
    for number in 0..20 {
        here.publish("news", number.into()).await;
        assert_eq!(there.event().await, publication("news", number));
    }
}

#[tokio::test]
async fn a_master_dies_and_its_replica_takes_over() {
    let mut cluster = Sharded::with_replicas().await;
    let nodes = two_nodes(&cluster).await;
    let mut here = Client::subscribed(&nodes[0], "news").await;
    let mut there = Client::subscribed(&nodes[1], "news").await;
    let old = cluster.master_of("news", None).await.expect("a master");
    cluster.servers[old].kill();
    for node in &nodes {
        node.becomes_unready().await;
    }
    hears_gap(&mut here).await;
    hears_gap(&mut there).await;
    for node in &nodes {
        node.becomes_ready().await;
    }
    here.publish("news", "after".into()).await;
    assert_eq!(there.event().await, publication("news", "after"));
    assert_eq!(cluster.subscribers("news", Some(old)).await, 2);
}
