//! `/readyz` and `tidegate_unready` report why a node is unready; `/healthz` stays 200.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::eventually;
use testkit::http;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::redis::Redis;
use tokio::time::sleep;

const REASONS: [&str; 4] = ["broker", "drain", "memory", "lag"];

/// The answer of `/readyz`, which must be 503 for this reason alone; the metrics must agree.
async fn assert_unready_for(node: &Node, reason: &str) -> Value {
    let answer = node.get("/readyz").await;
    assert_eq!(answer.status, 503);
    let answer = answer.json();
    assert_eq!(answer["ready"], false);
    let reasons = answer["reasons"].as_array().expect("reasons");
    assert_eq!(reasons.len(), 1, "{answer}");
    for it in REASONS {
        assert_eq!(answer["checks"][it]["ok"], it != reason, "{it} in {answer}");
        let metric = format!(r#"tidegate_unready{{reason="{it}"}}"#);
        assert_eq!(node.metric(&metric).await, f64::from(u8::from(it == reason)), "{it}");
    }
    assert!(answer["checks"][reason]["why"].is_string(), "{answer}");
    assert_eq!(node.get("/healthz").await.status, 200);
    answer
}

#[tokio::test]
async fn readyz_of_a_ready_node_reports_the_figures_of_all_checks() {
    let node = Node::standalone(&["limits.memory_max=10GiB"]).await;
    let answer = eventually("the first measurement of lag", async || {
        let answer = node.get("/readyz").await.json();
        (answer["checks"]["lag"]["max_ms"] == 1000.).then_some(answer)
    })
    .await;
    assert_eq!(answer["ready"], true);
    assert!(answer.get("reasons").is_none(), "{answer}");
    let checks = &answer["checks"];
    assert_eq!(checks["drain"], json!({"ok": true, "phase": "serving"}));
    assert_eq!(checks["broker"], json!({"ok": true, "kind": "memory"}));
    assert_eq!(checks["memory"]["max_bytes"], 10u64 << 30);
    let used = checks["memory"]["used_bytes"].as_u64().expect("bytes");
    assert!((1 << 20..10 << 30).contains(&used), "{used}");
    assert!(checks["lag"]["lag_ms"].as_f64().is_some_and(|lag| lag >= 0.), "{answer}");
    for reason in REASONS {
        assert_eq!(node.metric(&format!(r#"tidegate_unready{{reason="{reason}"}}"#)).await, 0.);
    }
    let head = http::request(node.internal, "HEAD", "/healthz", &[], b"").await;
    assert_eq!(head.status, 200);
}

#[tokio::test]
async fn a_node_without_redis_is_unready_for_the_broker() {
    let redis = Redis::stopped();
    let node = Node::start_on(&redis, &[]).await;
    node.wait_until_unready().await;
    let answer = assert_unready_for(&node, "broker").await;
    assert!(answer["reasons"][0].as_str().expect("a reason").starts_with("broker: "), "{answer}");
}

#[tokio::test]
async fn a_draining_node_is_unready_for_the_drain() {
    let node = Node::standalone(&["drain.delay=1h"]).await;
    node.signal(Signal::TERM);
    node.wait_until_unready().await;
    let answer = assert_unready_for(&node, "drain").await;
    assert_eq!(answer["checks"]["drain"]["phase"], "leaving");
}

#[tokio::test]
async fn a_node_near_memory_max_is_unready_for_memory() {
    // An idle node uses more than this, so it never becomes ready.
    let settings = tempfile::tempdir().expect("a directory");
    let file = settings.path().join("tidegate.toml");
    std::fs::write(&file, "limits.memory_max = \"1MiB\"").expect("the file is written");
    let node = Node::with_config_file(&file, &[]).await;
    node.wait_until_unready().await;
    let answer = assert_unready_for(&node, "memory").await;
    assert_eq!(answer["checks"]["memory"]["max_bytes"], 1u64 << 20);
}

#[tokio::test]
async fn a_reload_changes_event_loop_lag_max_of_a_running_node() {
    let settings = tempfile::tempdir().expect("a directory");
    let file = settings.path().join("tidegate.toml");
    let allow = |max: &str| {
        let text = format!("limits.event_loop_lag_max = {max:?}");
        std::fs::write(&file, text).expect("the file is written");
    };
    allow("2s");
    let node = Node::with_config_file(&file, &[]).await;
    let allows = async |millis: f64| {
        eventually("the limit to be used", async || {
            let lag = node.get("/readyz").await.json()["checks"]["lag"].clone();
            (lag["max_ms"] == millis && lag["ok"] == true).then_some(())
        })
        .await;
    };
    allows(2000.).await;
    allow("0s");
    node.signal(Signal::HUP);
    allows(0.).await;
}

/// The node is stopped again and again, as a container above its CPU limit is, so its tasks run late.
#[tokio::test]
async fn a_node_that_is_throttled_is_unready_for_lag_and_becomes_ready_afterwards() {
    const STOPPED: Duration = Duration::from_millis(600);
    const RUNNING: Duration = Duration::from_millis(20);
    let node = Arc::new(Node::standalone(&["limits.event_loop_lag_max=400ms"]).await);
    let mut client = Client::plain(&node, "news").await;

    // A single pause is over when the node notices it.
    node.signal(Signal::STOP);
    sleep(STOPPED).await;
    node.signal(Signal::CONT);
    let below_pause = r#"tidegate_event_loop_lag_seconds_bucket{le="0.5"}"#;
    eventually("the pause to be measured", async || {
        let all = node.metric("tidegate_event_loop_lag_seconds_count").await;
        (node.metric(below_pause).await < all).then_some(())
    })
    .await;
    assert!(node.is_ready().await, "a single pause must not make the node unready");

    let enough = Arc::new(AtomicBool::new(false));
    let (throttled, ended) = (node.clone(), enough.clone());
    let throttling = tokio::spawn(async move {
        while !ended.load(Ordering::Relaxed) {
            throttled.signal(Signal::STOP);
            sleep(STOPPED).await;
            throttled.signal(Signal::CONT);
            sleep(RUNNING).await;
        }
    });
    node.wait_until_unready().await;
    enough.store(true, Ordering::Relaxed);
    throttling.await.expect("the throttling ends with the node running");

    let answer = assert_unready_for(&node, "lag").await;
    assert!(answer["reasons"][0].as_str().expect("a reason").starts_with("lag: "), "{answer}");
    assert!(answer["checks"]["lag"]["peak_ms"].as_f64() > Some(400.), "{answer}");
    client.send("still served").await;
    assert_eq!(client.receive_text().await, "still served");
    Client::plain(&node, "news").await.close().await;

    node.wait_until_ready().await;
    let logged = |text: &str| node.process.stderr().iter().filter(|it| it.contains(text)).count();
    assert_eq!(logged("the event loop lags"), 1, "one line");
    assert_eq!(logged("the event loop runs on time again"), 1);
}
