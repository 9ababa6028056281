//! Accepted upgrades, and frames that follow them immediately.

use testkit::client::Client;
use testkit::node::Node;
use testkit::raw::{Frame, RawClient, close, text, upgrade};
use testkit::redis::Redis;

use super::answer;

#[tokio::test]
async fn an_upgrade_is_answered_as_rfc_6455_requires() {
    let node = Node::standalone(&[]).await;
    for path in ["/ws/news", "/ws", "/ws/news?echo=false", "/ws/news?unheard=of"] {
        let response = answer(&node, upgrade(path, "")).await;
        assert_eq!(response.status, 101);
        let header = |name| response.header(name).map(str::to_lowercase);
        assert_eq!(header("upgrade").as_deref(), Some("websocket"));
        assert_eq!(header("connection").as_deref(), Some("upgrade"));
        let accept = response.header("sec-websocket-accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(response.header("sec-websocket-protocol"), None);
        assert_eq!(response.header("sec-websocket-extensions"), None);
    }
}

#[tokio::test]
async fn upgrade_headers_are_matched_without_regard_to_case_and_white_space() {
    let node = Node::standalone(&[]).await;
    let request = "GET /ws/news HTTP/1.1\r\nhost: gateway\r\nconnection: keep-alive, UPGRADE\r\n\
                   upgrade: WebSocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key:   dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    let response = answer(&node, request).await;
    assert_eq!(response.status, 101, "{response:?}");
    assert_eq!(response.header("sec-websocket-extensions"), None, "compression is off");
}

#[tokio::test]
async fn the_answer_names_the_supported_subprotocol_that_the_client_offered() {
    let node = Node::standalone(&[]).await;
    for more in [
        "Sec-WebSocket-Protocol: tidegate.v1.json\r\n",
        "Sec-WebSocket-Protocol: unheard.of, tidegate.v1.json\r\n",
        "Sec-WebSocket-Protocol: unheard.of\r\nSec-WebSocket-Protocol: tidegate.v1.json\r\n",
    ] {
        let mut raw = RawClient::connect(&node).await;
        raw.send(upgrade("/ws", more)).await;
        let response = raw.response().await;
        assert_eq!(response.status, 101);
        assert_eq!(response.header("sec-websocket-protocol"), Some("tidegate.v1.json"));
        assert!(raw.frame().await.payload.starts_with(b"{\"type\":\"welcome\""));
    }
}

#[tokio::test]
async fn frames_in_the_same_segment_as_the_upgrade_are_published() {
    let redis = Redis::start().await;
    for node in [Node::standalone(&[]).await, Node::on(&redis, &[]).await] {
        let mut subscriber = Client::plain(&node, "news").await;
        let mut raw = RawClient::connect(&node).await;
        let frames: Vec<u8> = (0..50).flat_map(|number| text(&number.to_string())).collect();
        raw.send([upgrade("/ws/news", "").as_bytes(), &frames].concat()).await;
        assert_eq!(raw.response().await.status, 101);
        for number in 0..50 {
            assert_eq!(raw.frame().await, Frame::text(&number.to_string()));
            assert_eq!(subscriber.receive_text().await, number.to_string());
        }
        raw.send(close(1000, b"")).await;
        raw.expect_close(1000).await;
    }
}

#[tokio::test]
async fn a_partial_frame_in_the_same_segment_as_the_upgrade_is_completed() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::connect(&node).await;
    let frame = text("hello");
    let (front, back) = frame.split_at(3);
    raw.send([upgrade("/ws/news", "").as_bytes(), front].concat()).await;
    assert_eq!(raw.response().await.status, 101);
    raw.send(back).await;
    raw.expect_text("hello").await;
}

#[tokio::test]
async fn channel_names_in_paths_are_percent_decoded_and_may_contain_slashes() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let long = "x".repeat(255);
    for (path, channel) in [
        ("/ws/chat:1", "chat:1"),
        ("/ws/chat%3A1", "chat:1"),
        ("/ws/a/b/c", "a/b/c"),
        ("/ws/a%2Fb", "a/b"),
        ("/ws/w%C3%A4ter", "wäter"),
        ("/ws/100%25", "100%"),
        ("/ws/a+b", "a+b"),
        (&format!("/ws/{long}"), &long),
    ] {
        let mut raw = RawClient::open(&node, path).await;
        assert_eq!(redis.publish(channel, path).await, 1, "no subscriber of {channel} by {path}");
        raw.expect_text(path).await;
    }
}

#[tokio::test]
async fn an_upgrade_is_accepted_on_a_connection_whose_earlier_request_was_refused() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::connect(&node).await;
    raw.send("GET /nothing HTTP/1.1\r\nHost: gateway\r\n\r\n").await;
    assert_eq!(raw.response().await.status, 404);
    raw.send(upgrade("/ws/news", "")).await;
    assert_eq!(raw.response().await.status, 101);
    raw.send(text("hello")).await;
    raw.expect_text("hello").await;
}
