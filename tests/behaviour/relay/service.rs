//! Plain `PUBLISH` by services, with and without a header line.

use serde_json::json;
use testkit::client::{Client, Message, publication};
use testkit::node::Node;
use testkit::redis::Redis;

struct Subscribers {
    redis: Redis,
    plain: Client,
    json: Client,
    _nodes: [Node; 2],
}

/// A plain subscriber on one node, a json one on the other.
async fn subscribers() -> Subscribers {
    let redis = Redis::start().await;
    let nodes = [Node::on(&redis, &[]).await, Node::on(&redis, &[]).await];
    let plain = Client::plain(&nodes[0], "news").await;
    let json = Client::subscribed(&nodes[1], "news").await;
    Subscribers { redis, plain, json, _nodes: nodes }
}

#[tokio::test]
async fn a_services_text_arrives_as_a_text_frame_and_as_text_in_json() {
    let mut subscribers = subscribers().await;
    for text in ["hello", "", "Grüße, 世界 🌊", "{not quite", &"x".repeat(60_000)] {
        assert_eq!(subscribers.redis.publish("news", text).await, 2);
        assert_eq!(subscribers.plain.receive().await, Message::text(text));
        let expected = json!({"type": "publication", "channel": "news", "text": text});
        assert_eq!(subscribers.json.event().await, expected);
    }
}

#[tokio::test]
async fn a_services_json_arrives_as_data_in_json() {
    let mut subscribers = subscribers().await;
    for data in [json!({"a": [1, 2.5, null]}), json!(42), json!("text"), json!(null)] {
        subscribers.redis.publish("news", data.to_string()).await;
        assert_eq!(subscribers.plain.receive_text().await, data.to_string());
        assert_eq!(subscribers.json.event().await, publication("news", data));
    }
}

#[tokio::test]
async fn a_services_json_keeps_its_numbers_and_white_space() {
    let mut subscribers = subscribers().await;
    let exact = r#"{ "n": 12345678901234567890.10,  "e":1e300 }"#;
    subscribers.redis.publish("news", exact).await;
    assert_eq!(subscribers.plain.receive_text().await, exact);
    let frame = subscribers.json.receive_text().await;
    assert!(frame.contains(&format!(r#""data":{exact}"#)), "{frame}");
}

#[tokio::test]
async fn a_services_binary_payload_arrives_as_a_binary_frame_and_as_base64_in_json() {
    let mut subscribers = subscribers().await;
    subscribers.redis.publish("news", b"\xff\x00\xfe").await;
    assert_eq!(subscribers.plain.receive().await, Message::binary(&b"\xff\x00\xfe"[..]));
    let expected = json!({"type": "publication", "channel": "news", "base64": "/wD+"});
    assert_eq!(subscribers.json.event().await, expected);
}

#[tokio::test]
async fn a_services_record_separator_without_a_valid_header_is_payload() {
    let mut subscribers = subscribers().await;
    for payload in [
        "\u{1e}",
        "\u{1e}no header\nrest",
        "\u{1e}{\"user\":\"ada\"}",
        "\u{1e}{\"user\":\"ada\"} \u{1e}\nrest",
        "\u{1e}[]\nrest",
        "\u{1e}\nrest",
    ] {
        subscribers.redis.publish("news", payload).await;
        assert_eq!(subscribers.plain.receive().await, Message::text(payload), "{payload:?}");
        assert_eq!(subscribers.json.event().await["text"], payload);
    }
}

#[tokio::test]
async fn a_services_header_line_is_parsed_and_removed() {
    let mut subscribers = subscribers().await;
    subscribers.redis.publish("news", "\u{1e}{\"ts\":1,\"later\":true}\n{\"n\":1}").await;
    assert_eq!(subscribers.plain.receive_text().await, r#"{"n":1}"#);
    assert_eq!(subscribers.json.event().await, publication("news", json!({"n": 1})));

    subscribers.redis.publish("news", "\u{1e}{\"binary\":true}\ntext").await;
    assert_eq!(subscribers.plain.receive().await, Message::binary(&b"text"[..]));

    subscribers.redis.publish("news", "\u{1e}{}\n").await;
    assert_eq!(subscribers.plain.receive().await, Message::text(""));
}

#[tokio::test]
async fn a_services_header_line_without_the_secret_sets_no_user_session_or_position() {
    let redis = Redis::start().await;
    let nodes = [Node::on(&redis, &[]).await, Node::on(&redis, &[]).await];
    let mut without_echo = Client::json(&nodes[0]).await;
    let subscribe = json!({"type": "subscribe", "id": 1, "channel": "news", "echo": false});
    assert_eq!(without_echo.request(subscribe).await["type"], "subscribed");
    let mut other = Client::subscribed(&nodes[1], "news").await;
    let session = without_echo.welcome["session"].as_str().expect("a session").to_owned();
    for (number, key) in (0..).zip([json!(null), "".into(), "guessed".into()]) {
        let line = json!({"user": "admin", "session": session, "pos": "1-1", "key": key});
        redis.publish("news", format!("\u{1e}{line}\n{number}")).await;
        for client in [&mut without_echo, &mut other] {
            assert_eq!(client.event().await, publication("news", number));
        }
    }
    // The session in a node's own header line counts, so the publisher without echo does not receive 7.
    without_echo.publish("news", 7.into()).await;
    assert_eq!(other.event().await, publication("news", 7));
    redis.publish("news", "8").await;
    assert_eq!(without_echo.event().await, publication("news", 8));
}

#[tokio::test]
async fn a_services_payload_of_a_million_bytes_arrives() {
    let mut subscribers = subscribers().await;
    let large = "x".repeat(1_000_000);
    subscribers.redis.publish("news", &large).await;
    assert_eq!(subscribers.plain.receive_text().await, large);
}
