//! `limits.connections_max`: one too many is told so, and may come when another has left.

use super::{answer, assert_refused};
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::node::Node;
use crate::support::raw::{Raw, upgrade};

#[tokio::test]
async fn one_too_many_is_told_to_try_later() {
    let node = Node::alone(&["limits.connections_max=2"]).await;
    let mut first = Client::plain(&node, "news").await;
    let second = Client::json(&node).await;
    for path in ["/ws/news", "/ws"] {
        let response = answer(&node, upgrade(path, "")).await;
        assert_refused(&response, 503);
        let seconds: u32 = response.header("retry-after").expect("when to retry").parse().unwrap();
        assert!(seconds > 0);
        assert_eq!(response.json()["error"]["code"], "limit_reached");
    }
    let rejected = r#"tidegate_rejected_total{reason="connections_max"}"#;
    assert_eq!(node.metric(rejected).await, 2.);
    assert!(node.is_ready().await || node.get("/healthz").await.status == 200);

    second.close().await;
    eventually("room again", async || {
        let response = answer(&node, upgrade("/ws/news", "")).await;
        (response.status == 101).then_some(())
    })
    .await;
    first.say("untroubled").await;
    assert_eq!(first.hears_text().await, "untroubled");
}

#[tokio::test]
async fn those_who_only_wait_hold_no_descriptors() {
    let node = Node::alone(&["limits.connections_max=2"]).await;
    let mut open = Vec::new();
    for _ in 0..60 {
        let mut raw = Raw::connect(&node).await;
        // Some are cut off right away: there are places for a few refusals only.
        let _ = raw.try_send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        open.push(raw);
    }
    // Two places, and what the node has open anyway.
    eventually("the refused to be gone", async || {
        (node.metric("process_open_fds").await < 30.).then_some(())
    })
    .await;
    drop(open);
}
