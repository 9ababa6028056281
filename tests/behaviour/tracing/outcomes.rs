//! Errors are recorded in the spans of failed publications and handshakes.

use serde_json::json;
use testkit::client::Client;
use testkit::collector::Collector;
use testkit::node::Node;
use testkit::raw::{RawClient, upgrade};
use testkit::redis::Redis;

use super::{node, publish, traceparent};

#[tokio::test]
async fn the_span_of_a_forbidden_publication_has_the_error_type_forbidden() {
    let collector = Collector::start().await;
    let rules = r#"rules=[{ pattern = "news", subscribe = "anyone", publish = "nobody" }, { pattern = "**" }]"#;
    let node = node(&collector, "0.0", &[rules]).await;
    let mut client = Client::json(&node).await;
    assert_eq!(publish(&mut client, &traceparent("01")).await["code"], "forbidden");
    let [span] = collector.wait_for_spans("publish").await;
    assert_eq!(span.attribute("error.type"), "forbidden");
    assert!(span.error.is_some());
}

#[tokio::test]
async fn the_span_of_a_rate_limited_publication_has_the_error_type_rate_limited() {
    let collector = Collector::start().await;
    let node = node(&collector, "0.0", &["limits.publications_per_second=1"]).await;
    let mut client = Client::json(&node).await;
    client.publish("news", json!(0)).await;
    assert_eq!(publish(&mut client, &traceparent("01")).await["code"], "rate_limited");
    let [span] = collector.wait_for_spans("publish").await;
    assert_eq!(span.attribute("error.type"), "rate_limited");
}

#[tokio::test]
async fn the_span_of_a_publication_redis_did_not_accept_has_the_error_type_unavailable() {
    let (redis, collector) = (Redis::start().await, Collector::start().await);
    let settings = collector.settings("0.0");
    let node = Node::on(&redis, &[&settings[0], "broker.publish_timeout=50ms"]).await;
    let mut client = Client::json(&node).await;
    redis.freeze();
    let answer = publish(&mut client, &traceparent("01")).await;
    assert_eq!(answer["code"], "unavailable");
    let [span] = collector.wait_for_spans("publish").await;
    assert_eq!(span.attribute("error.type"), "unavailable");
    assert_eq!(span.error.as_deref(), answer["message"].as_str());
    assert!(span.nanoseconds >= 50_000_000, "the span must cover publish_timeout: {span:#?}");
}

#[tokio::test]
async fn the_span_of_a_refused_handshake_has_the_status_and_the_error_type() {
    let collector = Collector::start().await;
    let rules = r#"rules=[{ pattern = "news" }]"#;
    let node = node(&collector, "1.0", &[rules]).await;
    for (path, header, status, error) in [
        ("/ws/news", "Origin: http://elsewhere.example\r\n", "403", "403"),
        ("/wsx", "", "404", "404"),
        // A browser cannot read the status of a refused upgrade, so this upgrade is accepted and then closed.
        ("/ws/secret", "", "101", "forbidden"),
    ] {
        let mut raw = RawClient::connect(&node).await;
        raw.send(upgrade(path, header)).await;
        assert_eq!(raw.response().await.status.to_string(), status);
        let find =
            async || collector.spans().into_iter().find(|it| it.attribute("url.path") == path);
        let span = testkit::eventually("the handshake's span", find).await;
        assert_eq!(span.attribute("http.response.status_code"), status);
        assert_eq!(span.attribute("error.type"), error);
        assert!(span.error.is_some());
    }
}
