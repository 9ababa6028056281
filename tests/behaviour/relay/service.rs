//! Plain `PUBLISH` by any service, no library, no envelope.

use serde_json::json;
use testkit::client::{Client, Message, publication};
use testkit::node::Node;
use testkit::redis::Redis;

struct Fleet {
    redis: Redis,
    plain: Client,
    json: Client,
    _nodes: [Node; 2],
}

/// A plain subscriber on one node, a json one on the other.
async fn fleet() -> Fleet {
    let redis = Redis::start().await;
    let nodes = [Node::on(&redis, &[]).await, Node::on(&redis, &[]).await];
    let plain = Client::plain(&nodes[0], "news").await;
    let json = Client::subscribed(&nodes[1], "news").await;
    Fleet { redis, plain, json, _nodes: nodes }
}

#[tokio::test]
async fn text_is_a_text_frame_and_text_in_json() {
    let mut fleet = fleet().await;
    for text in ["hello", "", "Grüße, 世界 🌊", "{not quite", &"x".repeat(60_000)] {
        assert_eq!(fleet.redis.publish("news", text).await, 2);
        assert_eq!(fleet.plain.receive().await, Message::text(text));
        let wanted = json!({"type": "publication", "channel": "news", "text": text});
        assert_eq!(fleet.json.event().await, wanted);
    }
}

#[tokio::test]
async fn json_is_data_in_json() {
    let mut fleet = fleet().await;
    for data in [json!({"a": [1, 2.5, null]}), json!(42), json!("text"), json!(null)] {
        fleet.redis.publish("news", data.to_string()).await;
        assert_eq!(fleet.plain.receive_text().await, data.to_string());
        assert_eq!(fleet.json.event().await, publication("news", data));
    }
}

#[tokio::test]
async fn numbers_and_white_space_of_json_survive() {
    let mut fleet = fleet().await;
    let exact = r#"{ "n": 12345678901234567890.10,  "e":1e300 }"#;
    fleet.redis.publish("news", exact).await;
    assert_eq!(fleet.plain.receive_text().await, exact);
    let frame = fleet.json.receive_text().await;
    assert!(frame.contains(&format!(r#""data":{exact}"#)), "{frame}");
}

#[tokio::test]
async fn bytes_are_a_binary_frame_and_base64_in_json() {
    let mut fleet = fleet().await;
    fleet.redis.publish("news", b"\xff\x00\xfe").await;
    assert_eq!(fleet.plain.receive().await, Message::binary(&b"\xff\x00\xfe"[..]));
    let wanted = json!({"type": "publication", "channel": "news", "base64": "/wD+"});
    assert_eq!(fleet.json.event().await, wanted);
}

#[tokio::test]
async fn a_record_separator_without_a_header_is_payload() {
    let mut fleet = fleet().await;
    for payload in [
        "\u{1e}",
        "\u{1e}no header\nrest",
        "\u{1e}{\"user\":\"ada\"}",
        "\u{1e}{\"user\":\"ada\"} \u{1e}\nrest",
        "\u{1e}[]\nrest",
        "\u{1e}\nrest",
    ] {
        fleet.redis.publish("news", payload).await;
        assert_eq!(fleet.plain.receive().await, Message::text(payload), "{payload:?}");
        assert_eq!(fleet.json.event().await["text"], payload);
    }
}

#[tokio::test]
async fn a_header_line_of_a_service_is_read_and_taken_off() {
    let mut fleet = fleet().await;
    fleet.redis.publish("news", "\u{1e}{\"ts\":1,\"later\":true}\n{\"n\":1}").await;
    assert_eq!(fleet.plain.receive_text().await, r#"{"n":1}"#);
    assert_eq!(fleet.json.event().await, publication("news", json!({"n": 1})));

    fleet.redis.publish("news", "\u{1e}{\"binary\":true}\ntext").await;
    assert_eq!(fleet.plain.receive().await, Message::binary(&b"text"[..]));

    fleet.redis.publish("news", "\u{1e}{}\n").await;
    assert_eq!(fleet.plain.receive().await, Message::text(""));
}

#[tokio::test]
async fn text_that_a_service_relays_speaks_for_nobody() {
    let redis = Redis::start().await;
    let nodes = [Node::on(&redis, &[]).await, Node::on(&redis, &[]).await];
    let mut deaf = Client::json(&nodes[0]).await;
    let without_echo = json!({"type": "subscribe", "id": 1, "channel": "news", "echo": false});
    assert_eq!(deaf.request(without_echo).await["type"], "subscribed");
    let mut other = Client::subscribed(&nodes[1], "news").await;
    let session = deaf.welcome["session"].as_str().expect("a session").to_owned();
    for (number, key) in (0..).zip([json!(null), "".into(), "guessed".into()]) {
        let line = json!({"user": "admin", "session": session, "pos": "1-1", "key": key});
        redis.publish("news", format!("\u{1e}{line}\n{number}")).await;
        for client in [&mut deaf, &mut other] {
            assert_eq!(client.event().await, publication("news", number));
        }
    }
    // What the node itself says of a session is believed.
    deaf.publish("news", 7.into()).await;
    assert_eq!(other.event().await, publication("news", 7));
    redis.publish("news", "8").await;
    assert_eq!(deaf.event().await, publication("news", 8));
}

#[tokio::test]
async fn a_million_bytes_of_a_service_arrive() {
    let mut fleet = fleet().await;
    let large = "x".repeat(1_000_000);
    fleet.redis.publish("news", &large).await;
    assert_eq!(fleet.plain.receive_text().await, large);
}
