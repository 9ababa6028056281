//! Leases: a run without its worker ends, whether nodes are there or not.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::eventually;
use testkit::fleet::{Broker, for_broker, for_every_broker};
use testkit::node::Node;
use testkit::redis::Redis;

use super::{RULES, after, ended, receive, refusal, subscribe, try_end, work};

for_every_broker!(
    a_run_whose_worker_is_gone_ends_as_abandoned_for_its_subscribers,
    a_late_subscriber_of_an_orphaned_run_gets_its_end,
    a_run_is_kept_open_by_renewing,
    a_worker_that_is_late_by_a_moment_is_refused,
);
for_broker!(sentinel, Sentinel, a_run_whose_worker_is_gone_ends_as_abandoned_for_its_subscribers);

/// The lease of `short:…`, and the longest that it may last.
const LEASE: Duration = Duration::from_secs(1);
const LEASE_MAX: Duration = Duration::from_millis(1125);

async fn a_run_whose_worker_is_gone_ends_as_abandoned_for_its_subscribers(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut here, _) = subscribe(a, "short:1", json!({})).await;
    let (mut there, _) = subscribe(b, "short:1", json!({})).await;
    let last = work(a, "short:1", 1..=3).await;
    let published = Instant::now();
    let end = ended("short:1", "abandoned", &after(&last, 1));
    receive(&mut here, 1..=3, &end).await;
    assert!(published.elapsed() >= LEASE, "{:?}", published.elapsed());
    receive(&mut there, 1..=3, &end).await;
}

async fn a_late_subscriber_of_an_orphaned_run_gets_its_end(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let last = work(a, "short:1", 1..=3).await;
    // The time is what is tested: no session uses the channel while the lease ends.
    tokio::time::sleep(LEASE_MAX).await;
    let (mut client, answer) = subscribe(b, "short:1", json!({"since": "first"})).await;
    assert_eq!(answer["position"], after(&last, 1).as_str());
    receive(&mut client, 1..=3, &ended("short:1", "abandoned", &after(&last, 1))).await;
}

async fn a_run_is_kept_open_by_renewing(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut client, _) = subscribe(b, "short:1", json!({})).await;
    work(a, "short:1", 1..=1).await;
    let began = Instant::now();
    while began.elapsed() < 3 * LEASE {
        let renewed = a.post("/api/renew/short:1", &[], b"").await;
        assert_eq!(renewed.status, 200, "{renewed:?}");
        let left = renewed.json()["lease_ms"].as_u64().unwrap();
        assert!((1000..=1125).contains(&left), "{left}");
        tokio::time::sleep(LEASE / 10).await;
    }
    let answer = try_end(a, "short:1", &json!({"reason": "done", "data": 2})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let position = super::text(&answer.json()["position"]);
    receive(&mut client, 1..=2, &ended("short:1", "done", &position)).await;
}

async fn a_worker_that_is_late_by_a_moment_is_refused(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    for (number, action) in ["publish", "end", "renew"].into_iter().enumerate() {
        let channel = format!("short:{number}");
        let last = work(a, &channel, 1..=1).await;
        tokio::time::sleep(LEASE_MAX).await;
        let body: &[u8] = if action == "end" { br#"{"reason":"done"}"# } else { b"2" };
        let late = b.post(&format!("/api/{action}/{channel}"), &[], body).await;
        assert_eq!(refusal(&late).1, "ended", "{action}: {late:?}");
        let (mut client, _) = subscribe(b, &channel, json!({"since": "first"})).await;
        receive(&mut client, 1..=1, &ended(&channel, "abandoned", &after(&last, 1))).await;
    }
}

#[tokio::test]
async fn a_run_that_was_orphaned_while_no_node_was_alive_ends_at_the_next_one_on_redis() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[RULES]).await;
    let last = work(&node, "short:1", 1..=2).await;
    drop(node);
    let key = "tidegate:lease {tidegate:short:1} short:1";
    eventually("the lease to be over", async || {
        (redis.query::<i64>(&["EXISTS", key]).await == 0).then_some(())
    })
    .await;
    let length: u64 = redis.query(&["XLEN", "tidegate:short:1"]).await;
    assert_eq!(length, 2, "no node is there to end it");
    let node = Node::on(&redis, &[RULES]).await;
    let (mut client, _) = subscribe(&node, "short:1", json!({"since": "first"})).await;
    receive(&mut client, 1..=2, &ended("short:1", "abandoned", &after(&last, 1))).await;
}

#[tokio::test]
async fn an_end_that_a_node_has_missed_reaches_its_subscribers_after_the_lease_on_redis() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[RULES]).await;
    let (mut client, _) = subscribe(&node, "short:1", json!({})).await;
    let last = work(&node, "short:1", 1..=2).await;
    // An entry that was not published, as if its message were lost.
    let header = r#"{"ended":"done"}"#;
    let position = after(&last, 1);
    let add = ["XADD", "tidegate:short:1", &position, "h", header, "p", ""];
    let _: String = redis.query(&add).await;
    receive(&mut client, 1..=2, &ended("short:1", "done", &position)).await;
}
