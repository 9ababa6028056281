//! Errors that are answered and leave the connection open.

use serde_json::{Value, json};
use testkit::client::{Client, publication};
use testkit::node::Node;

async fn assert_refused(client: &mut Client, command: Value, code: &str, temporary: bool) {
    let answer = client.request(command.clone()).await;
    assert_eq!(answer["type"], "error", "{command} gave {answer}");
    assert_eq!(answer["code"], code, "{command} gave {answer}");
    assert_eq!(answer["temporary"], temporary, "{command} gave {answer}");
    let message = answer["message"].as_str().expect("a message");
    assert!(message.len() > 10, "{message:?} is too short to help");
}

#[tokio::test]
async fn invalid_commands_are_answered_with_bad_request_and_the_session_continues() {
    let node = Node::standalone(&[]).await;
    let mut client = Client::subscribed(&node, "news").await;
    let long = "x".repeat(256);
    for command in [
        json!({"id": 7}),
        json!({"type": "dance", "id": 7}),
        json!({"type": 5, "id": 7}),
        json!({"type": "subscribe", "id": 7}),
        json!({"type": "subscribe", "id": 7, "channel": ""}),
        json!({"type": "subscribe", "id": 7, "channel": "a b"}),
        json!({"type": "subscribe", "id": 7, "channel": "a\u{0}b"}),
        json!({"type": "subscribe", "id": 7, "channel": long}),
        json!({"type": "subscribe", "id": 7, "channel": 5}),
        json!({"type": "subscribe", "id": 7, "channels": ["a"]}),
        json!({"type": "subscribe", "id": 7, "channels": {}}),
        json!({"type": "subscribe", "id": 7, "channel": "a", "since": "yesterday"}),
        json!({"type": "subscribe", "id": 7, "channel": "a", "echo": "no"}),
        json!({"type": "unsubscribe", "id": 7}),
        json!({"type": "publish", "id": 7, "data": 1}),
        json!({"type": "publish", "id": 7, "channel": "a"}),
        json!({"type": "publish", "id": 7, "channel": "a", "data": 1, "text": "1"}),
        json!({"type": "publish", "id": 7, "channel": "a", "text": 1}),
        json!({"type": "publish", "id": 7, "channel": "a", "base64": "not base64!"}),
        json!({"type": "presence", "id": 7}),
        json!({"type": "history", "id": 7}),
        json!({"type": "auth", "id": 7, "token": "auth.mode is none"}),
    ] {
        assert_refused(&mut client, command, "bad_request", false).await;
    }
    client.publish("news", json!("after the errors")).await;
    assert_eq!(client.event().await, publication("news", "after the errors"));
}

#[tokio::test]
async fn a_command_whose_id_is_no_integer_gets_an_error_without_id() {
    let node = Node::standalone(&[]).await;
    let mut client = Client::json(&node).await;
    for id in [json!("one"), json!(1.5), json!([1])] {
        client.send_command(json!({"type": "ping", "id": id})).await;
        let answer = client.event().await;
        assert_eq!((&answer["type"], &answer["code"]), (&"error".into(), &"bad_request".into()));
        assert_eq!(answer.get("id"), None);
    }
}

#[tokio::test]
async fn history_and_presence_without_a_rule_that_keeps_them_are_not_found() {
    let node = Node::standalone(&[]).await;
    let mut client = Client::json(&node).await;
    for kind in ["history", "presence"] {
        let command = json!({"type": kind, "id": 5, "channel": "chat:1"});
        assert_refused(&mut client, command, "not_found", false).await;
    }
}

#[tokio::test]
async fn a_subscription_above_channels_max_gets_limit_reached_until_one_ends() {
    let node = Node::standalone(&["session.channels_max=2"]).await;
    let mut client = Client::subscribed(&node, "news").await;
    client.subscribe("sport").await;
    let third = json!({"type": "subscribe", "id": 3, "channel": "chat:1"});
    assert_refused(&mut client, third.clone(), "limit_reached", false).await;
    client.subscribe("news").await;
    client.request(json!({"type": "unsubscribe", "id": 4, "channel": "sport"})).await;
    assert_eq!(client.request(third).await["type"], "subscribed");
}

#[tokio::test]
async fn a_channel_list_above_channels_max_gets_an_error_that_names_the_channel() {
    let node = Node::standalone(&["session.channels_max=2"]).await;
    let mut client = Client::json(&node).await;
    let channels = json!({"a": null, "b": null, "c": null});
    client.send_command(json!({"type": "subscribe", "id": 3, "channels": channels})).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(client.answer(3).await);
    }
    let of = |kind: &str| answers.iter().filter(|answer| answer["type"] == kind).count();
    assert_eq!((of("subscribed"), of("error")), (2, 1));
    let error = answers.iter().find(|answer| answer["type"] == "error").unwrap();
    assert_eq!(error["code"], "limit_reached");
    assert!(error["channel"].is_string(), "{error}");
}
