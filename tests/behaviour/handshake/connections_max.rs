//! `limits.connections_max`: one too many is told so, and may come when another has left.

use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::raw::{RawClient, upgrade};

use super::{answer, assert_refused};

#[tokio::test]
async fn one_too_many_is_told_to_try_later() {
    let node = Node::standalone(&["limits.connections_max=2"]).await;
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
    first.send("untroubled").await;
    assert_eq!(first.receive_text().await, "untroubled");
}

#[tokio::test]
async fn those_who_only_wait_hold_no_descriptors() {
    let node = Node::standalone(&["limits.connections_max=2"]).await;
    let mut open = Vec::new();
    for _ in 0..60 {
        let mut raw = RawClient::connect(&node).await;
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

#[tokio::test]
async fn more_than_there_are_files_for_are_told_so_and_probes_are_answered() {
    /// Of which 128 are kept back.
    const FILES: u64 = 192;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("tidegate.toml");
    std::fs::write(&file, "[limits]\nconnections_max = 50\n").expect("it is written");
    let node = Node::with_open_files(FILES, &file, &[]).await;
    let told = || {
        let lines = node.process.stderr();
        lines.into_iter().find(|line| line.contains("limits.connections_max is beyond"))
    };
    assert_eq!(told(), None);
    std::fs::write(&file, "[limits]\nconnections_max = 50000\n").expect("it is written");
    node.signal(Signal::HUP);
    let told = eventually("it to say that they are too many", async || told()).await;
    for number in ["\"connections_max\":50000", "\"places\":64", "50128 open files"] {
        assert!(told.contains(number), "{number} is not in {told}");
    }
    node.wait_for_metric(r#"tidegate_config_reloads_total{outcome="taken_up"}"#, 1.).await;
    let mut clients = Vec::new();
    for _ in 0..64 {
        clients.push(RawClient::open(&node, "/ws/news").await);
    }
    for _ in 0..80 {
        assert_refused(&answer(&node, upgrade("/ws/news", "")).await, 503);
        assert_eq!(node.get("/healthz").await.status, 200);
    }
    assert_eq!(node.metric("tidegate_connections").await, 64.);
    assert_eq!(node.metric(r#"tidegate_rejected_total{reason="accept"}"#).await, 0.);
}

#[tokio::test]
async fn probes_are_answered_while_others_hold_the_internal_listener_and_the_node_is_full() {
    const FILES: u64 = 192;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("tidegate.toml");
    std::fs::write(&file, "").expect("it is written");
    let node = Node::with_open_files(FILES, &file, &[]).await;
    let mut clients = Vec::new();
    for _ in 0..64 {
        clients.push(RawClient::open(&node, "/ws/news").await);
    }
    // They say nothing, or half a request, or have had an answer and stay.
    let mut idle = Vec::new();
    for number in 0..300 {
        let mut raw = RawClient::connect_internal(&node).await;
        let said = ["", "GET /healthz HT", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"];
        let _ = raw.try_send(said[number % 3]).await;
        idle.push(raw);
        if number % 20 == 0 {
            for path in ["/healthz", "/readyz"] {
                assert_eq!(node.get(path).await.status, 200, "{path} beside {number} idle ones");
            }
        }
    }
    assert_refused(&answer(&node, upgrade("/ws/news", "")).await, 503);
    assert!(node.metric("process_open_fds").await < FILES as f64);
    assert_eq!(node.metric(r#"tidegate_rejected_total{reason="accept"}"#).await, 0.);
    clients.truncate(0);
    drop(idle);
}

#[tokio::test]
async fn a_shortage_of_files_is_told_once_and_so_is_its_end() {
    let node = Node::standalone(&["telemetry.log_level=debug"]).await;
    let told = |level: &str, what: &str| {
        let lines = node.process.stderr();
        lines.iter().filter(|line| line.contains(level) && line.contains(what)).count()
    };
    const SHORT: &str = "cannot accept connections";
    node.process.limit_open_files(5);
    let mut waiting = RawClient::connect(&node).await;
    eventually("several attempts", async || (told("DEBUG", SHORT) > 3).then_some(())).await;
    assert_eq!(told("WARN", SHORT), 1);
    node.process.limit_open_files(1000);
    waiting.send(upgrade("/ws/news", "")).await;
    assert_eq!(waiting.response().await.status, 101);
    eventually("the end to be told", async || {
        assert_eq!(answer(&node, upgrade("/ws/news", "")).await.status, 101);
        (told("INFO", "accepted again") > 0).then_some(())
    })
    .await;
    assert_eq!((told("WARN", SHORT), told("INFO", "accepted again")), (1, 1));
}
