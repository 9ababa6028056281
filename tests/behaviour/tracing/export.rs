//! The way to the collector: whole at the end, and nobody's burden when it leads nowhere.

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

/// More than a node waits for a collector when it stops, and less than would make an orchestrator kill it.
const EXIT_MAX: Duration = Duration::from_secs(8);

/// Drains at once.
const AT_ONCE: [&str; 2] = ["drain.delay=0s", "drain.period=0s"];

#[tokio::test]
async fn what_was_last_arrives_before_the_node_exits() {
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
async fn without_a_collector_a_node_serves_and_stops_and_says_it_once() {
    let mut node = lonely(free_address()).await;
    let mut client = Client::json(&node).await;
    for failed in [1., 2.] {
        publish(&mut client, &traceparent("01")).await;
        node.wait_for_metric("tidegate_trace_spans_total{outcome=\"failed\"}", failed).await;
    }
    stops_in_time(&mut node, client).await;
    let told = node.process.stderr();
    let told = told.iter().filter(|line| line.contains("the collector takes no traces"));
    assert_eq!(told.count(), 1);
}

#[tokio::test]
async fn a_collector_that_hangs_holds_nobody_up() {
    let listener = TcpListener::bind(free_address()).await.expect("the port is free");
    let mut node = lonely(listener.local_addr().expect("an address")).await;
    let mut client = Client::subscribed(&node, "news").await;
    publish(&mut client, &traceparent("01")).await;
    // It is being sent, to somebody who listens and says nothing.
    let (_held, _) = testkit::soon("the node", listener.accept()).await.expect("it connects");
    // And this one is next in line: to wait for both would take twice as long as for one.
    publish(&mut client, &traceparent("01")).await;
    for number in 0..100 {
        client.publish("news", json!(number)).await;
    }
    stops_in_time(&mut node, client).await;
    let told = node.process.stderr();
    assert!(told.iter().any(|line| line.contains("the last spans")), "{told:#?}");
}

/// A node whose spans go to nobody.
async fn lonely(address: SocketAddr) -> Node {
    let settings = settings(address, "0.0");
    Node::standalone(&[&settings[0], &settings[1], AT_ONCE[0], AT_ONCE[1]]).await
}

async fn stops_in_time(node: &mut Node, mut client: Client) {
    let told = Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(u16::from(client.receive_close().await.code), 1012);
    drop(client);
    assert_eq!(node.process.exit_code().await, 0);
    assert!(told.elapsed() < EXIT_MAX, "{:?} to stop", told.elapsed());
}

#[tokio::test]
async fn the_log_is_as_it_is_without_traces() {
    let collector = Collector::start().await;
    let mut node =
        node(&collector, "1.0", &["telemetry.log_level=debug", AT_ONCE[0], AT_ONCE[1]]).await;
    let mut client = Client::subscribed(&node, "news").await;
    client.publish("news", json!(0)).await;
    let [_] = collector.wait_for_spans("relay").await;
    stops_in_time(&mut node, client).await;
    let lines = node.process.stderr();
    assert!(lines.iter().any(|line| line.contains("connection closed")), "{lines:#?}");
    for line in &lines {
        let line: Value = serde_json::from_str(line).expect("a JSON object");
        assert!(line.get("span").is_none() && line.get("spans").is_none(), "{line}");
        // The words of whom the exporter is made of begin otherwise than ours.
        let message = line["message"].as_str().expect("a message");
        let ours = [
            "listening",
            "demo page",
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
async fn a_bad_endpoint_or_ratio_keeps_a_node_from_starting() {
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
