//! Exporting to the collector: complete when the node exits, and harmless when the collector is absent or hangs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::collector::{Collector, settings};
use testkit::node::{Node, run_to_end, tidegate};
use testkit::process::Signal;
use testkit::redis::free_address;
use tokio::net::TcpListener;

use super::{node, publish, traceparent};

/// Longer than a stopping node waits for its collector, and shorter than an orchestrator waits before it kills the node.
const EXIT_MAX: Duration = Duration::from_secs(8);

/// Drains at once.
const AT_ONCE: [&str; 2] = ["drain.delay=0s", "drain.period=0s"];

#[tokio::test]
async fn a_node_exports_its_last_spans_before_it_exits() {
    let collector = Collector::start().await;
    let mut node = node(&collector, "0.0", &AT_ONCE).await;
    let mut client = Client::subscribed(&node, "news").await;
    for _ in 0..3 {
        publish(&mut client, &traceparent("01")).await;
    }
    node.signal(Signal::TERM);
    assert_eq!(u16::from(client.receive_close().await.code), 1012);
    drop(client);
    assert_eq!(node.process.exit_code().await, 0);
    assert_eq!(
        (collector.spans_named("publish").len(), collector.spans_named("relay").len()),
        (3, 3)
    );
}

#[tokio::test]
async fn a_node_without_its_collector_serves_and_exits_in_time_and_logs_it_once() {
    let mut node = node_exporting_to(free_address()).await;
    let mut client = Client::json(&node).await;
    for failed in [1., 2.] {
        publish(&mut client, &traceparent("01")).await;
        node.wait_for_metric("tidegate_trace_spans_total{outcome=\"failed\"}", failed).await;
    }
    assert_exits_in_time(&mut node, client).await;
    let lines = node.process.stderr();
    let reports = lines.iter().filter(|line| line.contains("the collector accepts no traces"));
    assert_eq!(reports.count(), 1);
}

#[tokio::test]
async fn a_collector_that_hangs_does_not_delay_publications_or_the_nodes_exit() {
    let listener = TcpListener::bind(free_address()).await.expect("the port is free");
    let mut node = node_exporting_to(listener.local_addr().expect("an address")).await;
    let mut client = Client::subscribed(&node, "news").await;
    publish(&mut client, &traceparent("01")).await;
    // The first span is being sent to a collector that does not answer.
    let (_held, _) = testkit::soon("the node", listener.accept()).await.expect("the node connects");
    // The second span waits behind the first: waiting for both would take twice as long.
    publish(&mut client, &traceparent("01")).await;
    for number in 0..100 {
        client.publish("news", json!(number)).await;
    }
    assert_exits_in_time(&mut node, client).await;
    let lines = node.process.stderr();
    assert!(lines.iter().any(|line| line.contains("the last spans")), "{lines:#?}");
}

/// A node that exports to this address, where no collector answers.
async fn node_exporting_to(address: SocketAddr) -> Node {
    let settings = settings(address, "0.0");
    Node::standalone(&[&settings[0], &settings[1], AT_ONCE[0], AT_ONCE[1]]).await
}

async fn assert_exits_in_time(node: &mut Node, mut client: Client) {
    let signalled = Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(u16::from(client.receive_close().await.code), 1012);
    drop(client);
    assert_eq!(node.process.exit_code().await, 0);
    assert!(signalled.elapsed() < EXIT_MAX, "{:?} to exit", signalled.elapsed());
}

#[tokio::test]
async fn the_log_of_a_node_that_exports_traces_holds_no_lines_of_the_exporter() {
    let collector = Collector::start().await;
    let mut node =
        node(&collector, "1.0", &["telemetry.log_level=debug", AT_ONCE[0], AT_ONCE[1]]).await;
    let mut client = Client::subscribed(&node, "news").await;
    client.publish("news", json!(0)).await;
    let [_] = collector.wait_for_spans("relay").await;
    assert_exits_in_time(&mut node, client).await;
    let lines = node.process.stderr();
    assert!(lines.iter().any(|line| line.contains("connection closed")), "{lines:#?}");
    for line in &lines {
        let line: Value = serde_json::from_str(line).expect("a JSON object");
        assert!(line.get("span").is_none() && line.get("spans").is_none(), "{line}");
        // The messages of the exporter's libraries begin differently from the node's.
        let message = line["message"].as_str().expect("a message");
        let ours = [
            "listening",
            "demo pages",
            "broker",
            "connection closed",
            "draining",
            "rejected",
            "stopped",
        ];
        assert!(ours.iter().any(|it| message.starts_with(it)), "{line}");
    }
}

#[tokio::test]
async fn an_invalid_trace_endpoint_or_ratio_is_a_configuration_fault() {
    let bad = ["telemetry.otlp_endpoint=https://127.0.0.1:4317", "telemetry.trace_ratio=1.5"];
    let ended = run_to_end(tidegate(&["check", "--set", bad[0], "--set", bad[1]])).await;
    assert_eq!(ended.status.code(), Some(2));
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    for part in
        ["telemetry.otlp_endpoint", "http://HOST:PORT", "telemetry.trace_ratio", "0.0 to 1.0"]
    {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}
