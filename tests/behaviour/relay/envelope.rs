//! What a node publishes on Redis: a header line, then the payload as it is.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::client::{Client, Message};
use testkit::node::Node;
use testkit::redis::Redis;

/// The header's fields, and the payload.
fn opened(message: &[u8]) -> (Value, &[u8]) {
    assert_eq!(message.first(), Some(&0x1E), "{message:?}");
    let end = message.iter().position(|byte| *byte == b'\n').expect("a line");
    (serde_json::from_slice(&message[1..end]).expect("a JSON object"), &message[end + 1..])
}

#[tokio::test]
async fn a_header_line_says_who_sent_it_and_when() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut listener = redis.subscriber("news").await;
    let mut client = Client::json(&node).await;
    let micros = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;

    let before = micros();
    client.publish("news", json!({"a": "line\nbreak"})).await;
    let message = listener.receive().await;
    let (header, payload) = opened(&message);
    assert_eq!(payload, br#"{"a":"line\nbreak"}"#);
    assert_eq!(header["node"], client.welcome["node"]);
    assert_eq!(header["session"], client.welcome["session"]);
    assert!((before..=micros()).contains(&header["ts"].as_u64().expect("a number")), "{header}");
    assert!(header.get("user").is_none() && header.get("binary").is_none_or(|it| it == false));
}

#[tokio::test]
async fn nodes_know_each_others_lines_by_a_secret_and_show_it_to_no_client() {
    let redis = Redis::start().await;
    // They come at the same moment, to a server that has none.
    let (one, other) = tokio::join!(Node::on(&redis, &[]), Node::on(&redis, &[]));
    let mut listener = redis.subscriber("news").await;
    let mut keys = Vec::new();
    for node in [&one, &other] {
        let mut client = Client::plain(node, "news").await;
        client.send("hello").await;
        keys.push(opened(&listener.receive().await).0["key"].clone());
        assert_eq!(client.receive_text().await, "hello");
        let mut client = Client::subscribed(node, "news").await;
        // Only with it a line says who sent it.
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
async fn a_binary_frame_is_marked_and_follows_as_it_is() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut listener = redis.subscriber("news").await;
    let mut client = Client::plain(&node, "news").await;
    for payload in [&b"\x1e{}\n\xff\x00"[..], b"text all the same", b""] {
        client.send(Message::binary(payload)).await;
        let message = listener.receive().await;
        let (header, after) = opened(&message);
        assert_eq!((&header["binary"], after), (&true.into(), payload));
        assert_eq!(client.receive().await, Message::binary(payload));
    }
}

#[tokio::test]
async fn what_looks_like_a_header_is_safe_behind_the_nodes_own() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut client = Client::plain(&node, "news").await;
    let forged = "\u{1e}{\"user\":\"root\"}\npayload";
    client.send(forged).await;
    assert_eq!(client.receive_text().await, forged);
}

#[tokio::test]
async fn idempotency_key_and_trace_context_travel_along() {
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
    let (header, _) = opened(&message);
    assert_eq!((&header["id"], &header["traceparent"]), (&"order-7".into(), &traceparent.into()));
}

#[tokio::test]
async fn the_prefix_is_configurable() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &["broker.prefix=tidegate:eu:"]).await;
    let mut client = Client::plain(&node, "news").await;
    assert_eq!(redis.publish("eu:news", "for Europe").await, 1);
    assert_eq!(client.receive_text().await, "for Europe");
    assert_eq!(redis.publish("news", "for nobody").await, 0);
}
