//! The limits on connections and on handshakes: refusal, release, and a dry run.

use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::raw::{Raw, upgrade};

use super::{is_refused, rejected, status_from};

const ONE: &str = "127.0.0.3";
const TWO: &str = "127.0.0.4";
const PROXY: &str = "127.0.0.2";

/// A connection that an upgrade was accepted on.
async fn enters(node: &Node, from: &str, more: &str) -> Raw {
    let mut raw = Raw::from(node, from).await;
    raw.send(upgrade("/ws/news", more)).await;
    assert_eq!(raw.response().await.status, 101, "from {from}");
    raw
}

async fn is_turned_away(node: &Node, from: &str, more: &str, status: u16, code: &str) {
    let mut raw = Raw::from(node, from).await;
    let _ = raw.try_send(upgrade("/ws/news", more)).await;
    is_refused(&raw.response().await, status, code);
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_gets_them_back() {
    let node = Node::alone(&["limits.connections_per_ip=2"]).await;
    let first = enters(&node, ONE, "").await;
    let _second = enters(&node, ONE, "").await;
    is_turned_away(&node, ONE, "", 429, "limit_reached").await;
    let _other = enters(&node, TWO, "").await;
    assert_eq!(node.metric(&rejected("connections_per_ip")).await, 1.);
    drop(first);
    eventually("room again", async || (status_from(&node, ONE, "").await == 101).then_some(()))
        .await;
}

#[tokio::test]
async fn behind_a_proxy_each_client_has_so_many_and_gets_them_back() {
    let settings = ["limits.connections_per_ip=1", "server.trusted_proxies=127.0.0.2"];
    let node = Node::alone(&settings).await;
    let line = |last| format!("X-Forwarded-For: 192.0.2.{last}\r\n");
    let first = enters(&node, PROXY, &line(1)).await;
    let _second = enters(&node, PROXY, &line(2)).await;
    is_turned_away(&node, PROXY, &line(1), 429, "limit_reached").await;
    assert_eq!(node.metric(&rejected("connections_per_ip")).await, 1.);
    drop(first);
    eventually("room again", async || {
        (status_from(&node, PROXY, &line(1)).await == 101).then_some(())
    })
    .await;
    // What is no session takes no place.
    let mut raw = Raw::from(&node, PROXY).await;
    raw.send(upgrade("/nothing", &line(3))).await;
    assert_eq!(raw.response().await.status, 404);
    let _third = enters(&node, PROXY, &line(3)).await;
}

#[tokio::test]
async fn an_address_makes_so_many_handshakes_a_second() {
    let node = Node::alone(&["limits.handshakes_per_second_per_ip=3"]).await;
    let mut statuses = Vec::new();
    while statuses.last() != Some(&429) {
        statuses.push(status_from(&node, ONE, "").await);
        assert!(statuses.len() < 1000, "as many as it likes");
    }
    assert!(statuses.len() > 3 && statuses[..3] == [101; 3], "{statuses:?}");
    assert_eq!(node.metric(&rejected("handshake_rate_per_ip")).await, 1.);
    enters(&node, TWO, "").await;
    eventually("the next second", async || {
        (status_from(&node, ONE, "").await == 101).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_node_takes_so_many_handshakes_a_second_of_all_together() {
    let node = Node::alone(&["limits.handshakes_per_second=3"]).await;
    let from = |number: usize| format!("127.0.1.{}", number % 250 + 1);
    let mut entered = 0;
    while status_from(&node, &from(entered), "").await == 101 {
        entered += 1;
        assert!(entered < 1000, "as many as they like");
    }
    assert!(entered >= 3);
    assert!(node.metric(&rejected("handshake_rate")).await >= 1.);
    eventually("to be told when to come again", async || {
        let mut raw = Raw::from(&node, ONE).await;
        let _ = raw.try_send(upgrade("/ws/news", "")).await;
        let response = raw.response().await;
        let is_over = response.status != 101;
        is_over.then(|| is_refused(&response, 503, "rate_limited"))
    })
    .await;
    eventually("the next second", async || {
        (status_from(&node, ONE, "").await == 101).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_counts_and_lets_pass() {
    let settings = [
        "limits.connections_per_ip=1",
        "limits.handshakes_per_second=1",
        "limits.handshakes_per_second_per_ip=1",
        "limits.dry_run=true",
    ];
    let node = Node::alone(&settings).await;
    let mut entered = Vec::new();
    for reason in ["connections_per_ip", "handshake_rate", "handshake_rate_per_ip"] {
        while node.metric(&rejected(reason)).await == 0. {
            entered.push(enters(&node, ONE, "").await);
            assert!(entered.len() < 1000, "{reason} is never counted");
        }
    }
    node.metric_becomes("tidegate_connections", entered.len() as f64).await;
}

#[tokio::test]
async fn a_dry_run_makes_no_places() {
    let node = Node::alone(&["limits.connections_max=1", "limits.dry_run=true"]).await;
    let _first = enters(&node, ONE, "").await;
    is_turned_away(&node, TWO, "", 503, "limit_reached").await;
}

/// Those who are refused and stay hold neither places nor the right to be told for long.
#[tokio::test]
async fn a_flood_of_the_refused_is_bounded_and_passes() {
    let node = Node::alone(&["limits.connections_per_ip=1"]).await;
    let _first = enters(&node, ONE, "").await;
    let mut refused = Vec::new();
    for _ in 0..200 {
        refused.push(Raw::from(&node, ONE).await);
    }
    let mut healthy = Client::plain(&node, "news").await;
    healthy.say("undisturbed").await;
    assert_eq!(healthy.hears_text().await, "undisturbed");
    eventually("the refused to be gone", async || {
        (node.metric("process_open_fds").await < 40.).then_some(())
    })
    .await;
    assert_eq!(node.metric(&rejected("connections_per_ip")).await, 200.);
    is_turned_away(&node, ONE, "", 429, "limit_reached").await;
}
