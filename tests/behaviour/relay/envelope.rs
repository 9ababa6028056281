//! The format of a node's publication on Redis: a header line, then the payload unchanged.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::client::{Client, Message};
use testkit::node::Node;
use testkit::redis::Redis;

/// The header as JSON, and the payload.
fn split_header(message: &[u8]) -> (Value, &[u8]) {
    assert_eq!(message.first(), Some(&0x1E), "{message:?}");
    let end = message.iter().position(|byte| *byte == b'\n').expect("a line");
    (serde_json::from_slice(&message[1..end]).expect("a JSON object"), &message[end + 1..])
}

#[tokio::test]
async fn a_header_line_holds_node_session_and_time_of_the_publication() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut listener = redis.subscriber("news").await;
    let mut client = Client::json(&node).await;
    let micros = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;

    let before = micros();
    client.publish("news", json!({"a": "line\nbreak"})).await;
    let message = listener.receive().await;
    let (header, payload) = split_header(&message);
    assert_eq!(payload, br#"{"a":"line\nbreak"}"#);
    assert_eq!(header["node"], client.welcome["node"]);
    assert_eq!(header["session"], client.welcome["session"]);
    assert!((before..=micros()).contains(&header["ts"].as_u64().expect("a number")), "{header}");
    assert!(header.get("user").is_none() && header.get("binary").is_none_or(|it| it == false));
}

#[tokio::test]
async fn nodes_trust_header_lines_by_a_shared_secret_that_no_client_receives() {
    let redis = Redis::start().await;
    // Both nodes start at the same time, on a Redis without a secret.
    let (one, other) = tokio::join!(Node::on(&redis, &[]), Node::on(&redis, &[]));
    let mut listener = redis.subscriber("news").await;
    let mut keys = Vec::new();
    for node in [&one, &other] {
        let mut client = Client::plain(node, "news").await;
        client.send("hello").await;
        keys.push(split_header(&listener.receive().await).0["key"].clone());
        assert_eq!(client.receive_text().await, "hello");
        let mut client = Client::subscribed(node, "news").await;
        // A line's `user` counts only with the secret.
        let line = json!({"user": "ada", "key": keys[0]});
        redis.publish("news", format!("\u{1e}{line}\n1")).await;
        let event = client.event().await;
        assert_eq!((&event["user"], &event["data"]), (&"ada".into(), &1.into()));
        assert!(event.get("key").is_none(), "{event}");
        listener.receive().await;
    }
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[0].as_str().expect("a text").len(), 22, "128 bits");
    let secret = keys[0].as_str().expect("a text");
    for node in [&one, &other] {
        let lines = node.process.stderr();
        assert!(!lines.iter().any(|line| line.contains(secret)), "{lines:#?}");
    }
}

#[tokio::test]
async fn a_binary_frame_is_marked_in_the_header_and_its_payload_is_unchanged() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut listener = redis.subscriber("news").await;
    let mut client = Client::plain(&node, "news").await;
    for payload in [&b"\x1e{}\n\xff\x00"[..], b"text in a binary frame", b""] {
        client.send(Message::binary(payload)).await;
        let message = listener.receive().await;
        let (header, after) = split_header(&message);
        assert_eq!((&header["binary"], after), (&true.into(), payload));
        assert_eq!(client.receive().await, Message::binary(payload));
    }
}

#[tokio::test]
async fn a_payload_that_resembles_a_header_line_arrives_unchanged() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut client = Client::plain(&node, "news").await;
    let forged = "\u{1e}{\"user\":\"root\"}\npayload";
    client.send(forged).await;
    assert_eq!(client.receive_text().await, forged);
}

#[tokio::test]
async fn a_header_line_carries_idempotency_key_and_trace_context() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut listener = redis.subscriber("news").await;
    let mut client = Client::json(&node).await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let command = json!({
        "type": "publish", "id": 3, "channel": "news", "data": 1,
        "idempotency_key": "order-7", "traceparent": traceparent,
    });
    assert_eq!(client.request(command).await["type"], "published");
    let message = listener.receive().await;
    let (header, _) = split_header(&message);
    assert_eq!((&header["id"], &header["traceparent"]), (&"order-7".into(), &traceparent.into()));
}

#[tokio::test]
async fn a_node_uses_the_configured_channel_prefix_in_redis() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &["broker.prefix=tidegate:eu:"]).await;
    let mut client = Client::plain(&node, "news").await;
    assert_eq!(redis.publish("eu:news", "for Europe").await, 1);
    assert_eq!(client.receive_text().await, "for Europe");
    assert_eq!(redis.publish("news", "for no node").await, 0);
}
