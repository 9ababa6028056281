//! The limits on connections and on handshakes: refusal, release, and a dry run.

use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::raw::{RawClient, upgrade};

use super::{assert_refused, rejected, status_from};

const CLIENT: &str = "127.0.0.3";
const OTHER_CLIENT: &str = "127.0.0.4";
const PROXY: &str = "127.0.0.2";

/// A connection on which the node accepted an upgrade.
async fn connect_accepted(node: &Node, from: &str, more: &str) -> RawClient {
    let mut raw = RawClient::connect_from(node, from).await;
    raw.send(upgrade("/ws/news", more)).await;
    assert_eq!(raw.response().await.status, 101, "from {from}");
    raw
}

async fn assert_refused_with(node: &Node, from: &str, more: &str, status: u16, code: &str) {
    let mut raw = RawClient::connect_from(node, from).await;
    let _ = raw.try_send(upgrade("/ws/news", more)).await;
    assert_refused(&raw.response().await, status, code);
}

#[tokio::test]
async fn connections_per_ip_limits_each_address_and_frees_the_slot_on_disconnect() {
    let node = Node::standalone(&["limits.connections_per_ip=2"]).await;
    let first = connect_accepted(&node, CLIENT, "").await;
    let _second = connect_accepted(&node, CLIENT, "").await;
    assert_refused_with(&node, CLIENT, "", 429, "limit_reached").await;
    let _other = connect_accepted(&node, OTHER_CLIENT, "").await;
    assert_eq!(node.metric(&rejected("connections_per_ip")).await, 1.);
    drop(first);
    eventually("a free slot", async || (status_from(&node, CLIENT, "").await == 101).then_some(()))
        .await;
}

#[tokio::test]
async fn connections_per_ip_limits_each_client_behind_a_proxy_and_frees_the_slot() {
    let settings = ["limits.connections_per_ip=1", "server.trusted_proxies=127.0.0.2"];
    let node = Node::standalone(&settings).await;
    let line = |last| format!("X-Forwarded-For: 192.0.2.{last}\r\n");
    let first = connect_accepted(&node, PROXY, &line(1)).await;
    let _second = connect_accepted(&node, PROXY, &line(2)).await;
    assert_refused_with(&node, PROXY, &line(1), 429, "limit_reached").await;
    assert_eq!(node.metric(&rejected("connections_per_ip")).await, 1.);
    drop(first);
    eventually("a free slot", async || {
        (status_from(&node, PROXY, &line(1)).await == 101).then_some(())
    })
    .await;
    // A request that becomes no session takes no slot.
    let mut raw = RawClient::connect_from(&node, PROXY).await;
    raw.send(upgrade("/nothing", &line(3))).await;
    assert_eq!(raw.response().await.status, 404);
    let _third = connect_accepted(&node, PROXY, &line(3)).await;
}

#[tokio::test]
async fn handshakes_per_second_per_ip_limits_each_address() {
    let node = Node::standalone(&["limits.handshakes_per_second_per_ip=3"]).await;
    let mut statuses = Vec::new();
    while statuses.last() != Some(&429) {
        statuses.push(status_from(&node, CLIENT, "").await);
        assert!(statuses.len() < 1000, "no handshake was refused");
    }
    assert!(statuses.len() > 3 && statuses[..3] == [101; 3], "{statuses:?}");
    assert_eq!(node.metric(&rejected("handshake_rate_per_ip")).await, 1.);
    connect_accepted(&node, OTHER_CLIENT, "").await;
    eventually("the next second", async || {
        (status_from(&node, CLIENT, "").await == 101).then_some(())
    })
    .await;
}

#[tokio::test]
async fn handshakes_per_second_limits_all_addresses_together() {
    let node = Node::standalone(&["limits.handshakes_per_second=3"]).await;
    let from = |number: usize| format!("127.0.1.{}", number % 250 + 1);
    let mut entered = 0;
    while status_from(&node, &from(entered), "").await == 101 {
        entered += 1;
        assert!(entered < 1000, "no handshake was refused");
    }
    assert!(entered >= 3);
    assert!(node.metric(&rejected("handshake_rate")).await >= 1.);
    eventually("a refusal with Retry-After", async || {
        let mut raw = RawClient::connect_from(&node, CLIENT).await;
        let _ = raw.try_send(upgrade("/ws/news", "")).await;
        let response = raw.response().await;
        let is_over = response.status != 101;
        is_over.then(|| assert_refused(&response, 503, "rate_limited"))
    })
    .await;
    eventually("the next second", async || {
        (status_from(&node, CLIENT, "").await == 101).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_counts_connections_and_handshakes_above_the_limits_and_accepts_them() {
    let settings = [
        "limits.connections_per_ip=1",
        "limits.handshakes_per_second=1",
        "limits.handshakes_per_second_per_ip=1",
        "limits.dry_run=true",
    ];
    let node = Node::standalone(&settings).await;
    let mut entered = Vec::new();
    for reason in ["connections_per_ip", "handshake_rate", "handshake_rate_per_ip"] {
        while node.metric(&rejected(reason)).await == 0. {
            entered.push(connect_accepted(&node, CLIENT, "").await);
            assert!(entered.len() < 1000, "{reason} is never counted");
        }
    }
    node.wait_for_metric("tidegate_connections", entered.len() as f64).await;
}

#[tokio::test]
async fn a_dry_run_does_not_lift_connections_max() {
    let node = Node::standalone(&["limits.connections_max=1", "limits.dry_run=true"]).await;
    let _first = connect_accepted(&node, CLIENT, "").await;
    assert_refused_with(&node, OTHER_CLIENT, "", 503, "limit_reached").await;
}

/// Refused connections that stay open take slots only for a short time: those of sessions and those of refusals.
#[tokio::test]
async fn the_node_closes_a_flood_of_refused_connections_that_stay_open() {
    let node = Node::standalone(&["limits.connections_per_ip=1"]).await;
    let _first = connect_accepted(&node, CLIENT, "").await;
    let mut refused = Vec::new();
    for _ in 0..200 {
        refused.push(RawClient::connect_from(&node, CLIENT).await);
    }
    let mut healthy = Client::plain(&node, "news").await;
    healthy.send("undisturbed").await;
    assert_eq!(healthy.receive_text().await, "undisturbed");
    eventually("the refused connections to be closed", async || {
        (node.metric("process_open_fds").await < 40.).then_some(())
    })
    .await;
    assert_eq!(node.metric(&rejected("connections_per_ip")).await, 200.);
    assert_refused_with(&node, CLIENT, "", 429, "limit_reached").await;
}
