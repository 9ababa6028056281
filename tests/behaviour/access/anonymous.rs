//! Sessions without a token.

use serde_json::{Value, json};
use testkit::client::{Client, publication};
use testkit::node::Node;
use testkit::token::{self, KEYS};

use super::node_requiring_tokens;

/// The error without its channel.
fn without_channel(mut error: Value) -> Value {
    let fields = error.as_object_mut().expect("an error is an object");
    fields.remove("channel");
    error
}

#[tokio::test]
async fn an_anonymous_session_gets_the_same_error_whichever_rule_matches_or_none() {
    let node = node_requiring_tokens(&[]).await;
    let mut client = Client::json(&node).await;
    let mut errors = Vec::new();
    for channel in ["chat:1", "user:u1", "lobby", "there:is:no:such:rule"] {
        for command in ["subscribe", "publish", "history", "presence"] {
            let command = json!({"type": command, "id": 1, "channel": channel, "data": 1});
            errors.push(without_channel(client.request(command).await));
        }
    }
    let first = &errors[0];
    assert_eq!((&first["type"], &first["code"]), (&json!("error"), &json!("unauthorized")));
    assert!(errors.iter().all(|error| error == first), "{errors:#?}");
    let pong = client.request(json!({"type": "ping", "id": 2})).await;
    assert_eq!(pong, json!({"type": "pong", "id": 2}), "the node closed the connection");
    assert_eq!(node.metric("tidegate_rejected_total{reason=\"forbidden\"}").await, 16.0);
}

#[tokio::test]
async fn a_session_that_sends_no_token_within_auth_timeout_is_closed_with_4001() {
    let node = node_requiring_tokens(&["auth.timeout=500ms"]).await;
    let mut client = Client::json(&node).await;
    let frame = client.receive_close().await;
    assert_eq!(u16::from(frame.code), 4001);
    assert!(frame.reason.contains("auth.timeout"), "{}", frame.reason);
}

#[tokio::test]
async fn an_anonymous_session_stays_open_where_a_rule_allows_anyone_something() {
    let rules = r#"rules=[{ pattern = "news", subscribe = "anyone", publish = "token" }]"#;
    let node = Node::standalone(&[KEYS, rules, "auth.timeout=100ms"]).await;
    let mut anonymous = Client::subscribed(&node, "news").await;
    let refused = json!({"type": "publish", "id": 1, "channel": "news", "data": 1});
    assert_eq!(anonymous.request(refused).await["code"], "unauthorized");
    // Far beyond `auth.timeout`, because the token expires later than that.
    let token = token::token(1.0, json!({"sub": "u1", "publish": ["news"]}));
    let mut authenticated = Client::json(&node).await;
    authenticated.request(json!({"type": "auth", "id": 1, "token": token})).await;
    authenticated.publish("news", json!("first")).await;
    assert_eq!(u16::from(authenticated.receive_close().await.code), 4001);
    let mut event = publication("news", "first");
    event["user"] = json!("u1");
    assert_eq!(anonymous.event().await, event);
    assert_eq!(anonymous.request(json!({"type": "ping", "id": 2})).await["type"], "pong");
}

#[tokio::test]
async fn an_auth_command_grants_the_channels_its_token_lists() {
    let node = node_requiring_tokens(&[]).await;
    let mut client = Client::json(&node).await;
    // All in one burst: the node handles the later commands after it has verified the token.
    let token = token::for_user("u1", &["chat:1"]);
    client.send_command(json!({"type": "auth", "id": 1, "token": token})).await;
    client.send_command(json!({"type": "subscribe", "id": 2, "channel": "chat:1"})).await;
    client.send_command(json!({"type": "subscribe", "id": 3, "channel": "chat:2"})).await;
    let answer = client.answer(1).await;
    assert_eq!((&answer["type"], &answer["user"]), (&json!("authenticated"), &json!("u1")));
    let left = answer["expires_in_ms"].as_u64().expect("expires_in_ms is a number");
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    assert_eq!(client.answer(2).await["type"], "subscribed");
    let error = client.answer(3).await;
    assert_eq!((&error["code"], &error["temporary"]), (&json!("forbidden"), &json!(false)));
}

#[tokio::test]
async fn an_auth_command_with_an_invalid_token_gets_an_error_and_keeps_the_old_identity() {
    let node = node_requiring_tokens(&[]).await;
    let mut client = Client::json(&node).await;
    let good = token::for_user("u1", &["chat:1"]);
    client.request(json!({"type": "auth", "id": 1, "token": good})).await;
    client.request(json!({"type": "subscribe", "id": 2, "channel": "chat:1"})).await;
    for bad in [
        "",
        "x",
        "a.b.c",
        &token::signed("another secret of the right length!", 60.0, json!({"sub": "u2"})),
    ] {
        let error = client.request(json!({"type": "auth", "id": 3, "token": bad})).await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("unauthorized")));
    }
    let answer =
        client.request(json!({"type": "publish", "id": 4, "channel": "chat:1", "data": 1})).await;
    assert_eq!(answer["type"], "published");
    assert_eq!(client.event().await["user"], "u1");
}

#[tokio::test]
async fn an_auth_command_on_a_node_without_authentication_is_a_bad_request() {
    let node = Node::standalone(&[]).await;
    let mut client = Client::json(&node).await;
    let error = client.request(json!({"type": "auth", "id": 1, "token": "x"})).await;
    assert_eq!(error["code"], "bad_request");
    assert!(error["message"].as_str().is_some_and(|it| it.contains("auth.mode")), "{error}");
}

#[tokio::test]
async fn a_session_that_sends_eleven_invalid_tokens_is_closed_with_4001() {
    let node = node_requiring_tokens(&[]).await;
    let mut client = Client::json(&node).await;
    for id in 1..=10 {
        let error = client.request(json!({"type": "auth", "id": id, "token": "x"})).await;
        assert_eq!(error["code"], "unauthorized");
    }
    client.send_command(json!({"type": "auth", "id": 11, "token": "x"})).await;
    assert_eq!(u16::from(client.receive_close().await.code), 4001);
}
