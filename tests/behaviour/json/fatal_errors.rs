//! Errors that close a json connection.

use serde_json::json;
use testkit::client::{Client, Message};
use testkit::node::Node;

#[tokio::test]
async fn a_text_frame_that_is_no_json_object_closes_with_1003() {
    let node = Node::standalone(&[]).await;
    for text in ["", "hello", "[]", "null", "42", r#"{"type":"ping""#, r#"{"type":"ping"} x"#] {
        let mut client = Client::json(&node).await;
        client.send(text).await;
        assert_eq!(u16::from(client.receive_close().await.code), 1003, "{text:?}");
    }
}

#[tokio::test]
async fn a_binary_frame_closes_a_json_connection_with_1003() {
    let node = Node::standalone(&[]).await;
    for payload in [&br#"{"type":"ping","id":1}"#[..], b""] {
        let mut client = Client::json(&node).await;
        client.send(Message::binary(payload)).await;
        assert_eq!(u16::from(client.receive_close().await.code), 1003);
    }
}

#[tokio::test]
async fn more_than_a_hundred_consecutive_bad_commands_close_with_1008() {
    let node = Node::standalone(&[]).await;
    let mut client = Client::json(&node).await;
    for round in 0..2 {
        for number in 0..100 {
            client.send_command(json!({"type": "dance", "id": number})).await;
            assert_eq!(client.answer(number).await["code"], "bad_request", "round {round}");
        }
        assert_eq!(client.request(json!({"type": "ping", "id": 1})).await["type"], "pong");
    }
    for _ in 0..101 {
        client.send_command(json!({"type": "dance"})).await;
    }
    assert_eq!(u16::from(client.receive_close().await.code), 1008);
}
