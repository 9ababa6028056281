//! `limits.connections_max`, and the limit on open files.

use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::raw::{RawClient, upgrade};

use super::{answer, assert_refused};

#[tokio::test]
async fn an_upgrade_above_connections_max_is_refused_with_503_until_a_connection_closes() {
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
    eventually("a free slot", async || {
        let response = answer(&node, upgrade("/ws/news", "")).await;
        (response.status == 101).then_some(())
    })
    .await;
    first.send("undisturbed").await;
    assert_eq!(first.receive_text().await, "undisturbed");
}

#[tokio::test]
async fn connections_above_connections_max_that_stay_open_are_closed() {
    let node = Node::standalone(&["limits.connections_max=2"]).await;
    let mut open = Vec::new();
    for _ in 0..60 {
        let mut raw = RawClient::connect(&node).await;
        // Some are cut off immediately: the node sends only a few refusals at a time.
        let _ = raw.try_send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        open.push(raw);
    }
    // Two sessions' sockets, and the descriptors of an idle node.
    eventually("the refused connections to be closed", async || {
        (node.metric("process_open_fds").await < 30.).then_some(())
    })
    .await;
    drop(open);
}

#[tokio::test]
async fn a_connections_max_above_the_open_file_limit_is_logged_and_refused_with_503() {
    /// The node reserves 128 of them.
    const FILES: u64 = 192;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("tidegate.toml");
    std::fs::write(&file, "[limits]\nconnections_max = 50\n").expect("the file is written");
    let node = Node::with_open_files(FILES, &file, &[]).await;
    let warning = || {
        let lines = node.process.stderr();
        lines.into_iter().find(|line| line.contains("limits.connections_max is beyond"))
    };
    assert_eq!(warning(), None);
    std::fs::write(&file, "[limits]\nconnections_max = 50000\n").expect("the file is written");
    node.signal(Signal::HUP);
    let warning = eventually("the warning about open files", async || warning()).await;
    for number in ["\"connections_max\":50000", "\"places\":64", "50128 open files"] {
        assert!(warning.contains(number), "{number} is not in {warning}");
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
async fn a_full_node_answers_probes_while_idle_connections_hold_the_internal_listener() {
    const FILES: u64 = 192;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("tidegate.toml");
    std::fs::write(&file, "").expect("the file is written");
    let node = Node::with_open_files(FILES, &file, &[]).await;
    let mut clients = Vec::new();
    for _ in 0..64 {
        clients.push(RawClient::open(&node, "/ws/news").await);
    }
    // They send nothing, half a request, or a whole request and stay connected.
    let mut idle = Vec::new();
    for number in 0..300 {
        let mut raw = RawClient::connect_internal(&node).await;
        let requests = ["", "GET /healthz HT", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"];
        let _ = raw.try_send(requests[number % 3]).await;
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
async fn a_shortage_of_open_files_and_its_end_are_each_logged_once() {
    let node = Node::standalone(&["telemetry.log_level=debug"]).await;
    let logged = |level: &str, what: &str| {
        let lines = node.process.stderr();
        lines.iter().filter(|line| line.contains(level) && line.contains(what)).count()
    };
    const SHORTAGE: &str = "cannot accept connections";
    node.process.limit_open_files(5);
    let mut waiting = RawClient::connect(&node).await;
    eventually("several attempts", async || (logged("DEBUG", SHORTAGE) > 3).then_some(())).await;
    assert_eq!(logged("WARN", SHORTAGE), 1);
    node.process.limit_open_files(1000);
    waiting.send(upgrade("/ws/news", "")).await;
    assert_eq!(waiting.response().await.status, 101);
    eventually("the end of the shortage to be logged", async || {
        assert_eq!(answer(&node, upgrade("/ws/news", "")).await.status, 101);
        (logged("INFO", "accepted again") > 0).then_some(())
    })
    .await;
    assert_eq!((logged("WARN", SHORTAGE), logged("INFO", "accepted again")), (1, 1));
}
