//! Where the trace of a request comes from.

use serde_json::json;
use testkit::client::Client;
use testkit::collector::{Collector, SERVER, Span};
use testkit::raw::{RawClient, text, upgrade};

use super::{SPAN, TRACE, node, publish, traceparent};

#[tokio::test]
async fn an_upgrade_s_is_that_of_its_handshake_and_of_what_a_plain_session_publishes() {
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
async fn a_json_session_s_publications_bring_their_own() {
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
async fn a_service_s_comes_with_its_request_to_the_api() {
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
async fn one_that_is_invalid_is_as_if_it_were_not_there() {
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
