//! The close handshake, both ways.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::node::Node;
use testkit::raw::{BINARY, CLOSE, FIN, Frame, RawClient, close, frame, text};
use testkit::redis::Redis;

#[tokio::test]
async fn a_close_is_echoed_with_its_code_and_ends_the_connection() {
    let node = Node::standalone(&[]).await;
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        let mut raw = RawClient::open(&node, "/ws/news").await;
        raw.send(close(code, "leaving ✓".as_bytes())).await;
        raw.expect_close(code).await;
    }
    node.wait_for_metric("tidegate_connections", 0.).await;
}

#[tokio::test]
async fn a_close_without_a_code_is_answered_without_one() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    raw.send(frame(FIN | CLOSE, b"")).await;
    assert_eq!(raw.frame().await, Frame { first: FIN | CLOSE, payload: Vec::new() });
    raw.expect_end().await;
}

#[tokio::test]
async fn a_close_that_breaks_the_rules_is_answered_with_1002() {
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

/// Says a hundred things and leaves, in one segment.
async fn says_its_last_words(node: &Node) {
    let mut subscriber = Client::plain(node, "news").await;
    let mut raw = RawClient::open(node, "/ws/news").await;
    let words: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| text(word)).collect();
    bytes.extend(close(1000, b""));
    raw.send(bytes).await;
    for word in &words {
        assert_eq!(subscriber.receive_text().await, *word, "published");
    }
    for word in &words {
        assert_eq!(raw.frame().await, Frame::text(word), "echoed before the close is answered");
    }
    raw.expect_close(1000).await;
}

#[tokio::test]
async fn what_was_said_before_the_close_is_published_and_echoed_first() {
    says_its_last_words(&Node::standalone(&[]).await).await;
}

#[tokio::test]
async fn also_through_redis() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    // Redis answers a publisher before it tells the subscribers, or after.
    for _ in 0..10 {
        says_its_last_words(&node).await;
    }
}

#[tokio::test]
async fn what_comes_after_a_close_is_ignored() {
    let node = Node::standalone(&[]).await;
    let mut subscriber = Client::plain(&node, "news").await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    raw.send([close(1000, b""), text("afterthought")].concat()).await;
    assert_eq!(raw.frame().await.close_code(), 1000);
    subscriber.send("next").await;
    assert_eq!(subscriber.receive_text().await, "next");
}

#[tokio::test]
async fn the_clients_answer_to_a_close_ends_the_connection() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws").await;
    raw.frame().await;
    raw.send(frame(FIN | BINARY, b"")).await;
    assert_eq!(raw.frame().await.close_code(), 1003);
    raw.send(close(1003, b"")).await;
    raw.expect_end().await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_a_close_is_cut_off_all_the_same() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws").await;
    raw.frame().await;
    raw.send(frame(FIN | BINARY, b"")).await;
    raw.expect_close(1003).await;
    node.wait_for_metric("tidegate_connections", 0.).await;
}

#[tokio::test]
async fn a_client_that_only_ends_its_side_is_let_go() {
    let node = Node::standalone(&[]).await;
    let raw = RawClient::open(&node, "/ws/news").await;
    node.wait_for_metric("tidegate_connections", 1.).await;
    drop(raw);
    node.wait_for_metric("tidegate_connections", 0.).await;
}

#[tokio::test]
async fn a_json_client_leaves_after_its_last_command_was_answered() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut listener = redis.subscriber("news").await;
    let mut raw = RawClient::open(&node, "/ws").await;
    raw.frame().await;
    let publish = json!({"type": "publish", "id": 1, "channel": "news", "data": "farewell"});
    raw.send([text(&publish.to_string()), close(1000, b"")].concat()).await;
    let answer: Value = serde_json::from_slice(&raw.frame().await.payload).expect("JSON");
    assert_eq!(answer, json!({"type": "published", "id": 1}));
    raw.expect_close(1000).await;
    assert!(listener.receive().await.ends_with(b"\n\"farewell\""));
}
