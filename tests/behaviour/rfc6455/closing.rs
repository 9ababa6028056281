//! The close handshake, begun by the client or by the node.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::node::Node;
use testkit::raw::{BINARY, CLOSE, FIN, Frame, RawClient, close, frame, text};
use testkit::redis::Redis;

#[tokio::test]
async fn a_close_frame_is_echoed_with_its_code_and_ends_the_connection() {
    let node = Node::standalone(&[]).await;
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        let mut raw = RawClient::open(&node, "/ws/news").await;
        raw.send(close(code, "leaving ✓".as_bytes())).await;
        raw.expect_close(code).await;
    }
    node.wait_for_metric("tidegate_connections", 0.).await;
}

#[tokio::test]
async fn a_close_frame_without_a_code_is_answered_without_a_code() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    raw.send(frame(FIN | CLOSE, b"")).await;
    assert_eq!(raw.frame().await, Frame { first: FIN | CLOSE, payload: Vec::new() });
    raw.expect_end().await;
}

#[tokio::test]
async fn an_invalid_close_frame_is_answered_with_1002() {
    let node = Node::standalone(&[]).await;
    let codes = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];
    let mut frames: Vec<_> = codes.map(|code: u16| close(code, b"")).into();
    frames.push(frame(FIN | CLOSE, &[0x03]));
    for bytes in frames {
        let mut raw = RawClient::open(&node, "/ws/news").await;
        raw.send(&bytes).await;
        assert_eq!(raw.frame().await.close_code(), 1002, "{bytes:?}");
        raw.expect_end().await;
    }
}

/// Sends a hundred frames and a close frame in one segment, and asserts that all are published and echoed before the
/// close is answered.
async fn publish_and_close(node: &Node) {
    let mut subscriber = Client::plain(node, "news").await;
    let mut raw = RawClient::open(node, "/ws/news").await;
    let texts: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let mut bytes: Vec<u8> = texts.iter().flat_map(|it| text(it)).collect();
    bytes.extend(close(1000, b""));
    raw.send(bytes).await;
    for sent in &texts {
        assert_eq!(subscriber.receive_text().await, *sent, "published");
    }
    for sent in &texts {
        assert_eq!(raw.frame().await, Frame::text(sent), "echoed before the close is answered");
    }
    raw.expect_close(1000).await;
}

#[tokio::test]
async fn frames_before_a_close_frame_are_published_and_echoed_first_in_memory() {
    publish_and_close(&Node::standalone(&[]).await).await;
}

#[tokio::test]
async fn frames_before_a_close_frame_are_published_and_echoed_first_on_redis() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    // Redis may answer the publisher before or after it delivers to subscribers.
    for _ in 0..10 {
        publish_and_close(&node).await;
    }
}

#[tokio::test]
async fn frames_after_a_close_frame_are_ignored() {
    let node = Node::standalone(&[]).await;
    let mut subscriber = Client::plain(&node, "news").await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    raw.send([close(1000, b""), text("ignored")].concat()).await;
    assert_eq!(raw.frame().await.close_code(), 1000);
    subscriber.send("next").await;
    assert_eq!(subscriber.receive_text().await, "next");
}

#[tokio::test]
async fn the_clients_answer_to_the_nodes_close_frame_ends_the_connection() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws").await;
    raw.frame().await;
    raw.send(frame(FIN | BINARY, b"")).await;
    assert_eq!(raw.frame().await.close_code(), 1003);
    raw.send(close(1003, b"")).await;
    raw.expect_end().await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_the_nodes_close_frame_is_cut_off() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws").await;
    raw.frame().await;
    raw.send(frame(FIN | BINARY, b"")).await;
    raw.expect_close(1003).await;
    node.wait_for_metric("tidegate_connections", 0.).await;
}

#[tokio::test]
async fn a_client_that_disconnects_without_a_close_frame_is_removed() {
    let node = Node::standalone(&[]).await;
    let raw = RawClient::open(&node, "/ws/news").await;
    node.wait_for_metric("tidegate_connections", 1.).await;
    drop(raw);
    node.wait_for_metric("tidegate_connections", 0.).await;
}

#[tokio::test]
async fn a_json_command_before_a_close_frame_is_answered_first() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut listener = redis.subscriber("news").await;
    let mut raw = RawClient::open(&node, "/ws").await;
    raw.frame().await;
    let publish = json!({"type": "publish", "id": 1, "channel": "news", "data": "last"});
    raw.send([text(&publish.to_string()), close(1000, b"")].concat()).await;
    let answer: Value = serde_json::from_slice(&raw.frame().await.payload).expect("JSON");
    assert_eq!(answer, json!({"type": "published", "id": 1}));
    raw.expect_close(1000).await;
    assert!(listener.receive().await.ends_with(b"\n\"last\""));
}
