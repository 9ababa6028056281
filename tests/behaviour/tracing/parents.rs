//! The parent span of requests and publications.

use serde_json::json;
use testkit::client::Client;
use testkit::collector::{Collector, SERVER, Span};
use testkit::raw::{RawClient, text, upgrade};

use super::{SPAN, TRACE, node, publish, traceparent};

#[tokio::test]
async fn an_upgrades_traceparent_is_the_parent_of_handshake_and_plain_publications() {
    let collector = Collector::start().await;
    let node = node(&collector, "0.0", &[]).await;
    let mut client = RawClient::connect(&node).await;
    let header = format!("traceparent: {}\r\n", traceparent("01"));
    client.send(upgrade("/ws/news", &header)).await;
    assert_eq!(client.response().await.status, 101);
    client.send(text("hello")).await;
    client.frame().await;

    let [handshake] = collector.wait_for_spans("handshake").await;
    assert_eq!((&*handshake.trace, &*handshake.parent, handshake.kind), (TRACE, SPAN, SERVER));
    assert_eq!(handshake.attribute("http.response.status_code"), "101");
    assert_eq!(handshake.attribute("tidegate.protocol"), "plain");
    assert_eq!(handshake.attribute("url.path"), "/ws/news");
    let [publish] = collector.wait_for_spans("publish").await;
    assert_eq!((&*publish.trace, &*publish.parent), (TRACE, SPAN));
    let [relay] = collector.wait_for_spans("relay").await;
    assert_eq!((&*relay.trace, &relay.parent), (TRACE, &publish.id));
}

#[tokio::test]
async fn json_publications_use_their_own_traceparent_and_not_the_upgrades() {
    let collector = Collector::start().await;
    let node = node(&collector, "0.0", &[]).await;
    let mut client = RawClient::connect(&node).await;
    let header = format!("traceparent: {}\r\n", traceparent("01"));
    client.send(upgrade("/ws", &header)).await;
    assert_eq!(client.response().await.status, 101);
    client.frame().await;
    client.send(text(r#"{"type":"publish","id":1,"channel":"news","data":1}"#)).await;
    client.frame().await;
    let other = format!("00-{}-{SPAN}-01", "1".repeat(32));
    let command = json!({"type": "publish", "channel": "news", "data": 1, "traceparent": other});
    client.send(text(&command.to_string())).await;
    let [publish] = collector.wait_for_spans("publish").await;
    assert_eq!(publish.trace, "1".repeat(32));
    let [handshake] = collector.wait_for_spans("handshake").await;
    assert_eq!((&*handshake.trace, handshake.attribute("tidegate.protocol")), (TRACE, "json"));
}

#[tokio::test]
async fn an_api_requests_traceparent_is_the_parent_of_its_publication() {
    let collector = Collector::start().await;
    let node = node(&collector, "0.0", &[]).await;
    let mut client = Client::plain(&node, "news").await;
    let headers = [("traceparent", &*traceparent("01"))];
    assert_eq!(node.post("/api/publish/news", &headers, b"hello").await.status, 202);
    assert_eq!(client.receive_text().await, "hello");
    let [publish] = collector.wait_for_spans("publish").await;
    assert_eq!((&*publish.trace, &*publish.parent), (TRACE, SPAN));
    let [relay] = collector.wait_for_spans("relay").await;
    assert_eq!((&*relay.trace, &relay.parent), (TRACE, &publish.id));
}

#[tokio::test]
async fn an_invalid_or_repeated_traceparent_is_ignored() {
    let collector = Collector::start().await;
    let node = node(&collector, "1.0", &[]).await;
    let mut client = Client::json(&node).await;
    let bad = traceparent("01").to_uppercase();
    assert_eq!(publish(&mut client, &bad).await["type"], "published");
    let twice = format!("traceparent: {0}\r\ntraceparent: {0}\r\n", traceparent("01"));
    let mut raw = RawClient::connect(&node).await;
    raw.send(upgrade("/ws/news", &twice)).await;
    assert_eq!(raw.response().await.status, 101);

    let [publish] = collector.wait_for_spans("publish").await;
    let handshakes: [Span; 2] = collector.wait_for_spans("handshake").await;
    for span in handshakes.iter().chain([&publish]) {
        assert!(span.parent.is_empty() && span.trace != TRACE, "a trace of its own: {span:#?}");
    }
}
