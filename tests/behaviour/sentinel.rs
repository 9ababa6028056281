//! Redis with Sentinel: after a failover clients get a gap and stay connected.

use std::time::{Duration, Instant};

use testkit::client::{Client, publication};
use testkit::node::Node;
use testkit::redis::Redis;
use testkit::sentinel::{SERVICE, Sentinel, SentinelProcess};
use testkit::{GAP_REASON, eventually};

/// The longest until publishing works again after the sentinels have elected a new master.
const AFTER_FAILOVER_MAX: Duration = Duration::from_secs(6);

/// Waits for the gap, and then until a publication arrives; neither client may be disconnected meanwhile.
async fn wait_until_relayed(from: &mut Client, to: &mut Client) {
    let gap = serde_json::json!({"type": "gap", "channel": "news", "reason": GAP_REASON});
    eventually("a gap", async || (to.event().await == gap).then_some(())).await;
    eventually("a publication to be accepted", async || {
        let publish =
            serde_json::json!({"type": "publish", "id": 2, "channel": "news", "data": "after"});
        (from.request(publish).await["type"] == "published").then_some(())
    })
    .await;
    let after = publication("news", "after");
    eventually("the publication to arrive", async || (to.event().await == after).then_some(()))
        .await;
}

#[tokio::test]
async fn clients_get_a_gap_and_resume_when_a_replica_replaces_a_dead_master() {
    let mut sentinel = Sentinel::start().await;
    let nodes =
        [Node::start_at(&sentinel.url(), &[]).await, Node::start_at(&sentinel.url(), &[]).await];
    for node in &nodes {
        node.wait_until_ready().await;
    }
    let mut client_a = Client::subscribed(&nodes[0], "news").await;
    let mut client_b = Client::subscribed(&nodes[1], "news").await;
    client_a.publish("news", "before".into()).await;
    assert_eq!(client_b.event().await, publication("news", "before"));

    let old = sentinel.master().await;
    sentinel.servers[old].kill();
    for node in &nodes {
        node.wait_until_unready().await;
    }
    sentinel.wait_for_failover(old).await;
    let since = Instant::now();
    wait_until_relayed(&mut client_a, &mut client_b).await;
    for node in &nodes {
        node.wait_until_ready().await;
    }
    assert!(since.elapsed() < AFTER_FAILOVER_MAX, "{:?}", since.elapsed());
}

#[tokio::test]
async fn nodes_do_not_use_an_old_master_that_resumes_after_a_failover() {
    let sentinel = Sentinel::start().await;
    let nodes =
        [Node::start_at(&sentinel.url(), &[]).await, Node::start_at(&sentinel.url(), &[]).await];
    for node in &nodes {
        node.wait_until_ready().await;
    }
    let mut client_a = Client::subscribed(&nodes[0], "news").await;
    let mut client_b = Client::subscribed(&nodes[1], "news").await;

    let old = sentinel.master().await;
    sentinel.servers[old].freeze();
    let new = sentinel.wait_for_failover(old).await;
    wait_until_relayed(&mut client_a, &mut client_b).await;
    sentinel.servers[old].thaw();
    for node in &nodes {
        node.wait_until_ready().await;
    }
    eventually("the old master to be a replica", async || {
        let role = sentinel.servers[old].info("replication", "role").await?;
        (role == "slave").then_some(())
    })
    .await;
    let subscribers = async |place: usize| sentinel.servers[place].subscribers("news").await;
    assert_eq!((subscribers(old).await, subscribers(new).await), (0, 2));
    client_a.publish("news", "last".into()).await;
    assert_eq!(client_b.event().await, publication("news", "last"));
}

/// The sentinel requires a login that differs from that of Redis.
const WITH_LOGIN: &str = "user default off\nuser gate on >hush ~* &* +@all";

#[tokio::test]
async fn a_node_uses_separate_logins_for_sentinels_and_redis() {
    let redis = Redis::start().await;
    let () = redis.query(&["CONFIG", "SET", "requirepass", "other"]).await;
    let sentinel = SentinelProcess::start(redis.address, WITH_LOGIN);
    let url = format!("redis+sentinel://:other@{}/{SERVICE}", sentinel.address);
    let login = ["broker.sentinel_user=gate", "broker.sentinel_password=hush"];
    let node = Node::start_at(&url, &login).await;
    node.wait_until_ready().await;
    let mut client = Client::subscribed(&node, "news").await;
    client.publish("news", "in".into()).await;
    assert_eq!(client.event().await, publication("news", "in"));
}

#[tokio::test]
async fn a_sentinel_that_refuses_the_login_is_reported_without_the_password() {
    let redis = Redis::start().await;
    let sentinel = SentinelProcess::start(redis.address, WITH_LOGIN);
    let url = format!("redis+sentinel://{}/{SERVICE}", sentinel.address);
    let wrong = ["broker.sentinel_user=gate", "broker.sentinel_password=wrong-one"];
    for (settings, expected) in
        [(&wrong[..], "authentication failed"), (&[], "broker.sentinel_password")]
    {
        let node = Node::start_at(&url, settings).await;
        eventually("the reason to be reported", async || {
            let reasons = node.get("/readyz").await.text();
            let names_sentinel = reasons.contains(&format!("{}: ", sentinel.address));
            (names_sentinel && reasons.contains(expected)).then_some(())
        })
        .await;
        let lines = node.process.stderr().join("\n");
        assert!(!lines.contains("wrong-one"), "{lines}");
    }
}
