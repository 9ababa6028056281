//! Patterns on Redis: publications of services, interruptions, and what Redis is asked to match.

use serde_json::{Value, json};
use testkit::client::{Client, publication};
use testkit::cluster::Cluster;
use testkit::eventually;
use testkit::fleet::Fleet;
use testkit::node::Node;
use testkit::sentinel::Sentinel;

use super::{RULES, subscribe, subscribed};

/// The patterns to which any client of the server is subscribed.
async fn patterns_in_redis(fleet: &Fleet) -> u64 {
    fleet.server().query(&["PUBSUB", "NUMPAT"]).await
}

#[tokio::test]
async fn a_pattern_gets_what_a_service_publishes_with_plain_publish_and_by_the_functions() {
    let fleet = Fleet::redis(&[RULES]).await;
    let mut client = subscribed(fleet.nodes()[0], "orders:**").await;
    subscribe(&mut client, "kept:*").await;
    fleet.publish_on_redis("orders:eu:1", "1").await;
    assert_eq!(client.event().await, publication("orders:eu:1", 1));
    let publish = ["FCALL", "tidegate_publish", "1", "tidegate:kept:1", "2"];
    let position: String = fleet.server().query(&publish).await;
    let event = client.event().await;
    assert_eq!((&event["data"], &event["position"]), (&json!(2), &json!(position)), "{event}");
}

#[tokio::test]
async fn on_a_cluster_a_pattern_gets_what_nodes_and_functions_publish_but_no_plain_spublish() {
    let cluster = Cluster::without_replicas().await;
    let node = Node::start_at(&cluster.url(), &[RULES]).await;
    node.wait_until_ready().await;
    let mut client = subscribed(&node, "orders:**").await;
    let mut publisher = Client::json(&node).await;
    for number in 0..20 {
        let channel = format!("orders:eu:{number}");
        cluster.publish(&channel, "0").await;
        let master = &cluster.servers[cluster.master_of(&channel).await];
        let key = format!("tidegate:{channel}");
        let position: Option<String> =
            master.query(&["FCALL", "tidegate_publish", "1", &key, "1"]).await;
        assert_eq!(position, None, "the channel keeps no history");
        assert_eq!(client.event().await, publication(&channel, 1));
        publisher.publish(&channel, json!(2)).await;
        assert_eq!(client.event().await, publication(&channel, 2));
    }
}

#[tokio::test]
async fn redis_has_one_pattern_for_each_rule_in_use_however_many_clients_there_are() {
    let fleet = Fleet::redis(&[RULES]).await;
    let before = patterns_in_redis(&fleet).await;
    assert_eq!(before, 0);
    let mut clients = Vec::new();
    for number in 0..10 {
        let pattern = format!("orders:eu:{number}:*");
        clients.push(subscribed(fleet.nodes()[number % 2], &pattern).await);
    }
    assert_eq!(patterns_in_redis(&fleet).await, 1);
    subscribe(&mut clients[0], "kept:a").await;
    assert_eq!(patterns_in_redis(&fleet).await, 2);
    drop(clients);
    eventually("no pattern in Redis", async || {
        (patterns_in_redis(&fleet).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn after_redis_was_away_a_pattern_gets_a_gap_before_anything_else() {
    let fleet = Fleet::redis(&[RULES]).await;
    let mut client = subscribed(fleet.nodes()[0], "orders:eu:*").await;
    subscribe(&mut client, "kept:*").await;
    assert!(fleet.server().kill_subscribers().await > 0);
    let mut patterns = [client.event().await, client.event().await].map(|event| {
        assert_eq!(
            (&event["type"], &event["reason"]),
            (&json!("gap"), &json!("broker_reconnected"))
        );
        event["pattern"].clone()
    });
    patterns.sort_by_key(Value::to_string);
    assert_eq!(patterns, [json!("kept:*"), json!("orders:eu:*")]);
    fleet.publish_on_redis("orders:eu:1", "1").await;
    assert_eq!(client.event().await, publication("orders:eu:1", 1));
}

#[tokio::test]
async fn after_a_failover_of_the_sentinels_a_pattern_gets_a_gap_and_then_publications() {
    let mut sentinel = Sentinel::start().await;
    let node = Node::start_at(&sentinel.url(), &[RULES]).await;
    node.wait_until_ready().await;
    let mut client = subscribed(&node, "orders:*").await;
    let old = sentinel.master().await;
    sentinel.servers[old].kill();
    let new = sentinel.wait_for_failover(old).await;
    eventually("a gap", async || (client.event().await["type"] == "gap").then_some(())).await;
    sentinel.servers[new].publish("orders:1", "1").await;
    assert_eq!(client.event().await, publication("orders:1", 1));
}

#[tokio::test]
async fn a_publication_that_is_too_large_is_a_gap_of_its_channel_for_a_pattern() {
    let fleet = Fleet::redis(&[RULES]).await;
    let mut client = subscribed(fleet.nodes()[0], "orders:*").await;
    let mut direct: Client = Client::subscribed(fleet.nodes()[1], "orders:1").await;
    fleet.server().publish("orders:1", vec![b'x'; 17 << 20]).await;
    let gap = json!({"type": "gap", "channel": "orders:1", "reason": "publication_too_large"});
    assert_eq!(client.event().await, gap);
    assert_eq!(direct.event().await, gap);
}
