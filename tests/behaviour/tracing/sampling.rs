//! Which publications and handshakes are traced.

use std::time::Instant;

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::collector::Collector;
use testkit::eventually;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::redis::Redis;

use super::{TRACE, node, publish, traceparent};

#[tokio::test]
async fn by_default_only_publications_with_a_sampled_parent_are_traced() {
    let collector = Collector::start().await;
    let endpoint = &collector.settings("0")[0];
    let node = Node::standalone(&[endpoint]).await;
    let mut client = Client::subscribed(&node, "news").await;
    client.publish("news", json!(0)).await;
    assert_eq!(publish(&mut client, &traceparent("01")).await["type"], "published");
    let [_] = collector.wait_for_spans("relay").await;
    let other_traces = collector.spans().into_iter().filter(|span| span.trace != TRACE);
    assert_eq!(other_traces.count(), 0);
}

#[tokio::test]
async fn with_a_trace_ratio_of_1_all_but_publications_with_an_unsampled_parent_are_traced() {
    let (redis, collector) = (Redis::start().await, Collector::start().await);
    let settings = collector.settings("1.0");
    let node = Node::on(&redis, &[&settings[0], &settings[1]]).await;
    let mut service = redis.subscriber("news").await;
    let mut client = Client::subscribed(&node, "news").await;
    let [handshake] = collector.wait_for_spans("handshake").await;
    assert!(handshake.parent.is_empty());

    let unsampled = traceparent("00");
    assert_eq!(publish(&mut client, &unsampled).await["type"], "published");
    let message = service.receive().await;
    let header = message[1..].split(|byte| *byte == b'\n').next().expect("a line");
    let header: Value = serde_json::from_slice(header).expect("a header");
    assert_eq!(
        header["traceparent"], unsampled,
        "the unsampled traceparent must be passed on unchanged"
    );

    client.publish("news", json!(0)).await;
    let [sent] = collector.wait_for_spans("publish").await;
    assert!(sent.parent.is_empty() && sent.trace != TRACE && sent.trace != handshake.trace);
    let [relay] = collector.wait_for_spans("relay").await;
    assert_eq!((&relay.trace, &relay.parent), (&sent.trace, &sent.id));

    // A service's publication without a trace is not traced: each node would begin a trace of its own.
    redis.publish("news", "untraced").await;
    client.publish("news", json!(0)).await;
    let relays = eventually("another relay", async || {
        Some(collector.spans_named("relay")).filter(|relays| relays.len() > 1)
    });
    assert!(relays.await.iter().all(|relay| !relay.parent.is_empty()));
}

#[tokio::test]
async fn a_reload_changes_the_trace_ratio_of_a_running_node() {
    let collector = Collector::start().await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("tidegate.toml");
    let write = |ratio: f64| {
        let text = format!("[telemetry]\ntrace_ratio = {ratio:?}\n");
        std::fs::write(&file, text).expect("the file is written");
    };
    write(0.0);
    let node = Node::with_config_file(&file, &[&collector.settings("0")[0]]).await;
    let mut client = Client::json(&node).await;
    client.publish("news", json!(0)).await;
    write(1.0);
    node.signal(Signal::HUP);
    node.wait_for_metric("tidegate_config_reloads_total{outcome=\"taken_up\"}", 1.).await;
    client.publish("news", json!(0)).await;
    let [_] = collector.wait_for_spans("publish").await;
    assert!(collector.spans_named("handshake").is_empty(), "the handshake preceded the reload");
}

/// The most traces that clients can force in a second.
const FORCED_MAX: f64 = 100.;

#[tokio::test]
async fn traces_forced_by_clients_are_limited_per_second() {
    let collector = Collector::start().await;
    let node = node(&collector, "0.0", &[]).await;
    let mut client = Client::json(&node).await;
    let sampled = traceparent("01");
    let command = json!({"type": "publish", "channel": "news", "data": 1, "traceparent": sampled})
        .to_string();
    let begun = Instant::now();
    for _ in 0..1000 {
        client.send(command.as_str()).await;
    }
    client.publish("news", json!("last")).await;
    let limited = node.metric("tidegate_trace_spans_total{outcome=\"limited\"}").await;
    let traced = 1000. - limited;
    // A token bucket: one second's worth at once, and then as many as the time since allows.
    let most = FORCED_MAX * (1. + begun.elapsed().as_secs_f64());
    assert!((FORCED_MAX..=most).contains(&traced), "{traced} of 1000 were traced, and not {most}");
    eventually("all traced publications to be exported", async || {
        (collector.spans_named("publish").len() as f64 == traced).then_some(())
    })
    .await;
}
