//! Disconnecting users: all nodes learn of a revocation at once, or later if they were disconnected from Redis.

mod functions;
mod sessions;

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::cluster::{Cluster, MASTERS};
use testkit::fleet::{Broker, for_every_broker};
use testkit::node::Node;
use testkit::proxy::Proxy;
use testkit::redis::Redis;
use testkit::sentinel::Sentinel;
use testkit::{eventually, soon};

/// The Redis key of the revocations, without the prefix.
const KEY: &str = "revoked users";

/// The metric for the number of revocations that a node knows.
const REVOCATIONS: &str = "tidegate_revocations";

/// A published revocation reaches a node within a second, one that it only reads again after at least 15 s. This bound
/// lies between the two, with tolerance for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(8);

for_every_broker!(
    a_revocation_reaches_every_node_at_once,
    a_disconnect_without_one_valid_user_is_refused
);

async fn disconnect(node: &Node, user: &str) -> u16 {
    node.post(&format!("/api/disconnect?user={user}"), &[], b"").await.status
}

/// Waits until the node knows this number of revocations.
async fn wait_for_revocations(node: &Node, count: usize) {
    node.wait_for_metric(REVOCATIONS, count as f64).await;
}

/// Disconnects the user on the first node, and asserts that all nodes learn of it without reading again.
async fn assert_disconnect_reaches(nodes: &[&Node], user: &str, count: usize) {
    let since = Instant::now();
    assert_eq!(disconnect(nodes[0], user).await, 202);
    for node in nodes {
        wait_for_revocations(node, count).await;
    }
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
}

async fn a_revocation_reaches_every_node_at_once(broker: Broker) {
    let fleet = broker.fleet(&[]).await;
    let [a, b] = fleet.nodes();
    let response = a.post("/api/disconnect?user=a%20b%2F%C3%A9", &[], b"").await;
    assert_eq!(response.status, 202);
    assert_eq!(response.json(), json!({"user": "a b/é", "disconnected": 0}));
    for node in [a, b] {
        wait_for_revocations(node, 1).await;
    }
    assert_disconnect_reaches(&[b, a], "bo", 2).await;
    assert_disconnect_reaches(&[a, b], "bo", 2).await;
    assert_disconnect_reaches(&[a, b], "cy", 3).await;
}

async fn a_disconnect_without_one_valid_user_is_refused(broker: Broker) {
    let fleet = broker.fleet(&["internal.api_key=0123456789abcdef"]).await;
    let [node, _] = fleet.nodes();
    let key = [("authorization", "Bearer 0123456789abcdef")];
    let long = format!("?user={}", "x".repeat(256));
    for query in ["", "?", "?user=", "?user", "?user=a&user=b", "?user=%0A", "?user=%FF", &long] {
        let response = node.post(&format!("/api/disconnect{query}"), &key, b"").await;
        assert_eq!(response.status, 400, "{query}");
        assert_eq!(response.json()["error"]["code"], "bad_request");
    }
    assert_eq!(disconnect(node, "ada").await, 401);
    let get = testkit::http::request(node.internal, "GET", "/api/disconnect", &key, b"");
    assert_eq!(get.await.status, 405);
    assert_eq!(node.metric(REVOCATIONS).await, 0.);
}

#[tokio::test]
async fn a_node_that_starts_later_knows_earlier_revocations() {
    let redis = Redis::start().await;
    let first = Node::on(&redis, &[]).await;
    for user in ["ada", "bo", "cy"] {
        assert_eq!(disconnect(&first, user).await, 202);
    }
    let second = Node::on(&redis, &[]).await;
    wait_for_revocations(&second, 3).await;
    drop(first);
    let third = Node::on(&redis, &[]).await;
    wait_for_revocations(&third, 3).await;
}

#[tokio::test]
async fn a_fleet_with_another_prefix_does_not_get_a_revocation() {
    let redis = Redis::start().await;
    let (node, other_fleet) =
        (Node::on(&redis, &[]).await, Node::on(&redis, &["broker.prefix=other:"]).await);
    assert_eq!(disconnect(&node, "ada").await, 202);
    wait_for_revocations(&node, 1).await;
    assert_disconnect_reaches(&[&other_fleet], "bo", 1).await;
    assert_eq!(node.metric(REVOCATIONS).await, 1.);
}

#[tokio::test]
async fn a_revocation_while_redis_is_down_holds_on_its_node_and_reaches_others_later() {
    let mut redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[]).await, Node::on(&redis, &[]).await);
    redis.kill();
    a.wait_until_unready().await;
    let response = a.post("/api/disconnect?user=ada", &[], b"").await;
    assert_eq!(response.status, 503);
    assert_eq!(response.json()["error"]["code"], "unavailable");
    assert_eq!(a.metric(REVOCATIONS).await, 1.);
    assert_eq!(b.metric(REVOCATIONS).await, 0.);
    redis.run().await;
    // The node publishes the revocation without a second request.
    wait_for_revocations(&b, 1).await;
}

#[tokio::test]
async fn nodes_write_revocations_again_that_redis_has_lost() {
    let mut redis = Redis::start().await;
    let (a, b) = (Node::on(&redis, &[]).await, Node::on(&redis, &[]).await);
    for number in 0..600 {
        let user = format!("user{number}");
        assert_eq!(disconnect(if number % 2 == 0 { &a } else { &b }, &user).await, 202);
    }
    wait_for_revocations(&a, 600).await;
    redis.kill();
    redis.run().await;
    let key = format!("tidegate:{KEY}");
    eventually("all revocations to be written again", async || {
        (redis.query::<u64>(&["ZCARD", &key]).await == 600).then_some(())
    })
    .await;
    let late = Node::on(&redis, &[]).await;
    wait_for_revocations(&late, 600).await;
}

#[tokio::test]
async fn a_node_whose_subscription_was_muted_learns_of_a_revocation_later() {
    let redis = Redis::start().await;
    let proxy = Proxy::in_front_of(&redis).await;
    let node = Node::on(&redis, &[]).await;
    let muted = Node::start_at(&proxy.url(), &[]).await;
    muted.wait_until_ready().await;
    assert_disconnect_reaches(&[&node, &muted], "ada", 1).await;
    proxy.mute_subscribers();
    assert_eq!(disconnect(&node, "bo").await, 202);
    wait_for_revocations(&node, 2).await;
    wait_for_revocations(&muted, 2).await;
}

#[tokio::test]
async fn a_node_reads_a_hundred_thousand_revocations_in_short_redis_commands() {
    const MANY: usize = 100_000;
    let redis = Redis::start().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("the clock is after 1970").as_millis() as usize;
    let mut connection = redis.connection().await;
    for chunk in (0..MANY).collect::<Vec<_>>().chunks(1000) {
        let mut add = ::redis::cmd("ZADD");
        add.arg(format!("tidegate:{KEY}"));
        for number in chunk {
            // Seven users share each time.
            add.arg(now - number / 7).arg(format!("user-{number}"));
        }
        let _: u64 = soon("ZADD", add.query_async(&mut connection)).await.expect("Redis adds");
    }
    let node = Node::on(&redis, &[]).await;
    wait_for_revocations(&node, MANY).await;
    let stats =
        redis.info("commandstats", "cmdstat_zrange").await.expect("the node has called ZRANGE");
    let field = |name: &str| {
        let value = stats.split(',').find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|it| it.parse::<f64>().ok()).expect("a number")
    };
    assert!(field("calls") >= 100., "{stats}");
    assert!(field("usec_per_call") < 5000., "{stats}");
}

#[tokio::test]
async fn revocations_reach_all_nodes_after_their_cluster_slot_moved() {
    let cluster = Cluster::without_replicas().await;
    let nodes =
        [Node::start_at(&cluster.url(), &[]).await, Node::start_at(&cluster.url(), &[]).await];
    for node in &nodes {
        node.wait_until_ready().await;
    }
    assert_disconnect_reaches(&[&nodes[0], &nodes[1]], "user0", 1).await;
    let from = cluster.master_of(KEY).await;
    for turn in 1..=3 {
        cluster.migrate(KEY, (from + turn) % MASTERS).await;
        eventually("both nodes to subscribe on the new master", async || {
            (cluster.subscribers(KEY).await == 2).then_some(())
        })
        .await;
        let user = format!("user{turn}");
        eventually("the revocation to be accepted", async || {
            (disconnect(&nodes[0], &user).await == 202).then_some(())
        })
        .await;
        let since = Instant::now();
        wait_for_revocations(&nodes[1], turn + 1).await;
        assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
    }
    let late = Node::start_at(&cluster.url(), &[]).await;
    wait_for_revocations(&late, 4).await;
}

#[tokio::test]
async fn a_sentinel_failover_loses_no_revocation() {
    let mut sentinel = Sentinel::start().await;
    let nodes =
        [Node::start_at(&sentinel.url(), &[]).await, Node::start_at(&sentinel.url(), &[]).await];
    for node in &nodes {
        node.wait_until_ready().await;
    }
    assert_disconnect_reaches(&[&nodes[0], &nodes[1]], "ada", 1).await;
    let old = sentinel.master().await;
    sentinel.servers[old].kill();
    nodes[0].wait_until_unready().await;
    assert_eq!(disconnect(&nodes[0], "bo").await, 503);
    sentinel.wait_for_failover(old).await;
    for node in &nodes {
        node.wait_until_ready().await;
        wait_for_revocations(node, 2).await;
    }
    assert_disconnect_reaches(&[&nodes[1], &nodes[0]], "cy", 3).await;
    let late = Node::start_at(&sentinel.url(), &[]).await;
    wait_for_revocations(&late, 3).await;
}
