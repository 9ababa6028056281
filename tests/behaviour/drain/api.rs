//! `POST /api/drain` drains the node as SIGTERM does, or closes a share of its connections (after scaling up).

use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::raw::RawClient;

const CLIENTS: usize = 20;

#[tokio::test]
async fn post_drain_drains_the_node_as_sigterm_does_and_a_sigterm_may_follow() {
    let mut node = Node::standalone(&["drain.delay=200ms", "drain.period=1s"]).await;
    let mut client = Client::json(&node).await;
    for request in 0..2 {
        let answer = node.post("/api/drain", &[], b"").await;
        assert_eq!(answer.status, 202);
        let answer = answer.json();
        assert_eq!(answer["phase"], "leaving");
        assert_eq!(answer["connections"], 1);
        assert_eq!((&answer["delay_ms"], &answer["period_ms"]), (&200.into(), &1000.into()));
        assert!(!node.is_ready().await);
        if request == 0 {
            // An orchestrator sends SIGTERM after its pre-stop hook has requested the drain.
            node.signal(Signal::TERM);
        }
    }
    assert_eq!(client.event().await["type"], "reconnect");
    assert_eq!(u16::from(client.receive_close().await.code), 1012);
    drop(client);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn sigint_ends_the_delay_of_a_drain_requested_by_the_api() {
    let mut node = Node::standalone(&["drain.delay=1h", "drain.period=100ms"]).await;
    let mut client = Client::plain(&node, "news").await;
    assert_eq!(node.post("/api/drain", &[], b"").await.status, 202);
    node.signal(Signal::INT);
    assert_eq!(u16::from(client.receive_close().await.code), 1012);
    drop(client);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_second_signal_ends_a_drain_requested_by_the_api_at_once() {
    let mut node = Node::standalone(&["drain.delay=1h", "drain.period=1h"]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    assert_eq!(node.post("/api/drain", &[], b"").await.status, 202);
    node.signal(Signal::TERM);
    eventually("the signal to be logged", async || {
        let is_logged = |line: &String| line.contains("already draining");
        node.process.stderr().iter().any(is_logged).then_some(())
    })
    .await;
    node.signal(Signal::TERM);
    assert_eq!(node.process.exit_code().await, 1);
    raw.read_to_end().await;
}

#[tokio::test]
async fn post_drain_percent_closes_the_oldest_connections_and_the_node_stays_ready() {
    let node = Node::standalone(&["drain.period=1s"]).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::json(&node).await);
    }
    let answer = node.post("/api/drain?percent=25", &[], b"").await;
    assert_eq!(answer.status, 202);
    let expected = serde_json::json!({"connections": 20, "shedding": 5, "period_ms": 1000});
    assert_eq!(answer.json(), expected);
    assert_eq!(node.post("/api/drain?percent=1", &[], b"").await.status, 409);
    let mut remaining = clients.split_off(5);
    for mut client in clients {
        let reconnect = client.event().await;
        assert_eq!(reconnect["type"], "reconnect");
        assert_eq!(reconnect["reason"], "rebalance");
        assert!(reconnect["after_ms"].as_u64().expect("after_ms is a number") <= 30_000);
        assert_eq!(u16::from(client.receive_close().await.code), 1012);
    }
    node.wait_for_metric("tidegate_connections_closed_total{reason=\"rebalance\"}", 5.).await;
    assert_eq!(node.metric("tidegate_connections").await, 15.);
    assert_eq!(node.metric("tidegate_drain_phase").await, 0.);
    assert!(node.is_ready().await);
    for client in &mut remaining {
        client.publish("news", true.into()).await;
    }
    eventually("another share to be shed", async || {
        let status = node.post("/api/drain?percent=1", &[], b"").await.status;
        (status == 202).then_some(())
    })
    .await;
}

#[tokio::test]
async fn post_drain_refuses_an_invalid_percent_and_the_node_stays_ready() {
    let node = Node::standalone(&[]).await;
    for query in ["percent=0", "percent=101", "percent=ten", "percent=1&percent=1", "after=1"] {
        let answer = node.post(&format!("/api/drain?{query}"), &[], b"").await;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.json()["error"]["code"], "bad_request");
    }
    assert_eq!(node.get("/api/drain").await.status, 405);
    assert!(node.is_ready().await);
}

#[tokio::test]
async fn a_reload_changes_the_drain_period_of_a_running_node() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("tidegate.toml");
    let configure = |period: &str| {
        std::fs::write(&file, format!("[drain]\nperiod = \"{period}\"\n"))
            .expect("the file is written");
    };
    configure("1h");
    let node = Node::with_config_file(&file, &[]).await;
    node.wait_until_ready().await;
    configure("7s");
    node.signal(Signal::HUP);
    eventually("the new period to be used", async || {
        let answer = node.post("/api/drain?percent=1", &[], b"").await.json();
        (answer["period_ms"] == 7000).then_some(())
    })
    .await;
}
