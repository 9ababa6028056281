//! The internal listener: metrics, readiness, and the busiest channels.

mod callers;
mod readiness;
mod top;

use std::collections::BTreeSet;
use std::process::Stdio;

use testkit::client::Client;
use testkit::node::Node;
use testkit::redis::Redis;
use tokio::io::AsyncWriteExt;

/// The metrics that every node exports.
const METRICS: [&str; 35] = [
    "connections",
    "connections_opened_total",
    "connections_closed_total",
    "publications_received_total",
    "publications_delivered_total",
    "received_bytes_total",
    "sent_bytes_total",
    "subscriptions",
    "channels",
    "handshake_duration_seconds",
    "publish_duration_seconds",
    "relay_duration_seconds",
    "delivery_duration_seconds",
    "ping_rtt_seconds",
    "outbound_queue_bytes",
    "publications_skipped_total",
    "slow_consumers_total",
    "rejected_total",
    "config_refused",
    "tls_files_refused",
    "revocations",
    "unready",
    "event_loop_lag_seconds",
    "broker_up",
    "broker_reconnects_total",
    "broker_probe_rtt_seconds",
    "subscriptions_wanted",
    "subscriptions_confirmed",
    "build_info",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "process_threads",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
];

fn full_name(metric: &str) -> String {
    match metric.starts_with("process_") {
        true => metric.to_owned(),
        false => format!("tidegate_{metric}"),
    }
}

#[tokio::test]
async fn every_metric_is_exported_from_the_start_with_value_zero() {
    let node = Node::standalone(&[]).await;
    let response = node.get("/metrics").await;
    assert!(response.header("content-type").expect("a type").starts_with("text/plain"));
    let text = response.text();
    for metric in METRICS {
        let name = full_name(metric);
        for about in ["HELP", "TYPE"] {
            assert!(text.contains(&format!("# {about} {name} ")), "no {about} of {name}");
        }
        let value = match metric.strip_suffix("_seconds") {
            Some(_) if !metric.starts_with("process_") => {
                node.metric(&format!("{name}_count")).await
            }
            _ => node.metric(&name).await,
        };
        match metric {
            "broker_up" | "build_info" => assert_eq!(value, 1., "{name}"),
            // A node measures this from its start.
            "event_loop_lag_seconds" => {}
            it if it.starts_with("process_") => {}
            _ => assert_eq!(value, 0., "{name}"),
        }
    }
}

#[tokio::test]
async fn labelled_metrics_are_exported_from_the_start_with_value_zero() {
    let node = Node::standalone(&[]).await;
    for sample in [
        r#"connections{protocol="plain",transport="websocket"}"#,
        r#"connections{protocol="json",transport="websocket"}"#,
        r#"publications_received_total{protocol="plain"}"#,
        r#"publications_delivered_total{protocol="json"}"#,
        r#"slow_consumers_total{action="closed"}"#,
        r#"tls_files_refused{listener="server"}"#,
        r#"tls_files_refused{listener="internal"}"#,
        r#"unready{reason="broker"}"#,
        r#"unready{reason="drain"}"#,
        r#"unready{reason="memory"}"#,
        r#"unready{reason="lag"}"#,
    ] {
        assert_eq!(node.metric(&full_name(sample)).await, 0.);
    }
}

#[tokio::test]
async fn connections_and_publications_are_counted_without_new_series() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let before = series(&node).await;
    let mut plain = Client::plain(&node, "secret-channel").await;
    let mut json = Client::subscribed(&node, "secret-channel").await;
    plain.send("one").await;
    json.event().await;
    plain.receive().await;
    json.publish("secret-channel", 2.into()).await;
    json.event().await;
    plain.receive().await;
    for (metric, value) in [
        (r#"connections{protocol="plain",transport="websocket"}"#, 1.),
        (r#"connections{protocol="json",transport="websocket"}"#, 1.),
        ("connections_opened_total", 2.),
        (r#"publications_received_total{protocol="plain"}"#, 1.),
        (r#"publications_received_total{protocol="json"}"#, 1.),
        (r#"publications_delivered_total{protocol="plain"}"#, 2.),
        (r#"publications_delivered_total{protocol="json"}"#, 2.),
        ("subscriptions", 2.),
        ("channels", 1.),
        ("subscriptions_wanted", 1.),
        ("subscriptions_confirmed", 1.),
        ("handshake_duration_seconds_count", 2.),
        ("publish_duration_seconds_count", 2.),
        ("relay_duration_seconds_count", 2.),
        ("delivery_duration_seconds_count", 2.),
        ("broker_up", 1.),
    ] {
        node.wait_for_metric(&full_name(metric), value).await;
    }
    assert!(node.metric("tidegate_received_bytes_total").await > 0.);
    assert!(node.metric("tidegate_sent_bytes_total").await > 0.);
    let text = node.get("/metrics").await.text();
    assert!(!text.contains("secret-channel"), "a label carries a channel's name");

    plain.close().await;
    drop(json);
    node.wait_for_metric("tidegate_connections", 0.).await;
    node.wait_for_metric("tidegate_connections_closed_total", 2.).await;
    node.wait_for_metric("tidegate_subscriptions", 0.).await;
    assert_eq!(series(&node).await, before, "the set of series changed");
}

/// The names of all samples, with their labels.
async fn series(node: &Node) -> BTreeSet<String> {
    let text = node.get("/metrics").await.text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

#[tokio::test]
async fn promtool_finds_no_fault_in_the_metrics() {
    let node = Node::standalone(&[]).await;
    let mut client = Client::plain(&node, "news").await;
    client.send("something to count").await;
    client.receive().await;
    let metrics = node.get("/metrics").await.body;
    let mut command = tokio::process::Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut promtool) = command.stderr(Stdio::piped()).kill_on_drop(true).spawn() else {
        eprintln!("skipped: promtool is not on PATH");
        return;
    };
    let mut stdin = promtool.stdin.take().expect("stdin is piped");
    stdin.write_all(&metrics).await.expect("promtool reads");
    drop(stdin);
    let ended = promtool.wait_with_output().await.expect("promtool ends");
    let output = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    assert!(ended.status.success() && output.is_empty(), "{}: {output}", ended.status);
}

#[tokio::test]
async fn the_operators_page_is_served_without_the_api_key_and_loads_only_its_own_files() {
    let node = Node::standalone(&["internal.api_key=0123456789abcdef"]).await;
    for (path, kind) in
        [("/", "text/html"), ("/operator.css", "text/css"), ("/operator.js", "text/javascript")]
    {
        let file = node.get(path).await;
        assert_eq!(file.status, 200, "{path}");
        assert!(file.header("content-type").is_some_and(|it| it.starts_with(kind)), "{path}");
        let policy = file.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    }
    assert_eq!(node.get("/api/top?by=bytes").await.status, 401);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_with_json_errors() {
    let node = Node::standalone(&[]).await;
    for path in ["/ws/news", "/api", "/api/", "/nothing"] {
        let response = node.get(path).await;
        assert_eq!(response.status, 404, "{path}");
        assert_eq!(response.json()["error"]["code"], "not_found");
    }
    for path in ["/", "/metrics", "/healthz", "/readyz", "/api/channels", "/api/top"] {
        let answer = node.post(path, &[], b"").await;
        assert_eq!(answer.status, 405, "{path}");
        let allowed = if path.starts_with("/api/") { "GET" } else { "GET, HEAD" };
        assert_eq!(answer.header("allow"), Some(allowed), "{path}");
    }
}
