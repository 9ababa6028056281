//! SIGINT at a terminal ends a node within seconds; a draining node logs what it waits for.

use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::raw::RawClient;

/// The longest that a drain may take on a busy machine; with `HOURS_OF_DRAIN` and no terminal it would take hours.
const DRAIN_MAX: Duration = Duration::from_secs(6);

const HOURS_OF_DRAIN: [&str; 2] = ["drain.delay=1h", "drain.period=1h"];

#[tokio::test]
async fn ctrl_c_at_a_terminal_drains_a_node_with_idle_connections_within_seconds() {
    let (mut node, terminal) = Node::at_terminal(&HOURS_OF_DRAIN).await;
    let mut idle = [Client::plain(&node, "news").await, Client::subscribed(&node, "news").await];
    // This client does not answer the close frame.
    let mut unresponsive = RawClient::open(&node, "/ws/news").await;
    let signalled = Instant::now();
    node.signal(Signal::INT);
    for client in &mut idle {
        assert_eq!(u16::from(client.receive_close().await.code), 1012);
    }
    assert_eq!(unresponsive.frame().await.close_code(), 1012);
    drop(idle);
    assert_eq!(node.process.exit_code().await, 0);
    assert!(signalled.elapsed() < DRAIN_MAX, "{:?}", signalled.elapsed());
    drop(terminal);
}

#[tokio::test]
async fn ctrl_c_at_a_terminal_ends_a_drain_requested_by_the_api_within_seconds() {
    let (mut node, terminal) = Node::at_terminal(&["drain.delay=0s", "drain.period=1h"]).await;
    let mut idle = [Client::plain(&node, "news").await, Client::plain(&node, "news").await];
    assert_eq!(node.post("/api/drain", &[], b"").await.status, 202);
    node.wait_for_metric("tidegate_drain_phase", 2.).await;
    node.signal(Signal::INT);
    for client in &mut idle {
        assert_eq!(u16::from(client.receive_close().await.code), 1012);
    }
    drop(idle);
    assert_eq!(node.process.exit_code().await, 0);
    drop(terminal);
}

#[tokio::test]
async fn sigterm_and_sigint_log_the_draining_connections_and_the_longest_wait() {
    for (signal, name, delay) in [(Signal::TERM, "SIGTERM", 3600.), (Signal::INT, "SIGINT", 0.)] {
        let mut node = Node::standalone(&HOURS_OF_DRAIN).await;
        let _idle = [Client::plain(&node, "news").await, Client::plain(&node, "news").await];
        node.signal(signal);
        let line = eventually("the drain to be logged", async || {
            let lines = node.process.stderr();
            let line = lines.iter().find(|line| line.contains("draining: waiting"))?;
            Some(serde_json::from_str::<Value>(line).expect("JSON"))
        })
        .await;
        assert_eq!((&line["why"], &line["connections"]), (&name.into(), &2.into()), "{line}");
        assert_eq!(line["delay_seconds"], delay, "{line}");
        let longest = line["longest_seconds"].as_f64().expect("a number");
        assert!(longest >= delay + 3600. && longest < delay + 3620., "{line}");
        eventually("the drain to be logged again", async || {
            let lines = node.process.stderr();
            lines.iter().any(|line| line.contains("still draining")).then_some(())
        })
        .await;
        node.signal(signal);
        assert_eq!(node.process.exit_code().await, 1, "a second signal ends it at once");
    }
}
