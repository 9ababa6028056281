//! Who has shown no token.

use serde_json::{Value, json};
use testkit::client::{Client, publication};
use testkit::node::Node;
use testkit::token::{self, KEYS};

use super::guarded;

/// The error without what names the command.
fn without_channel(mut error: Value) -> Value {
    let fields = error.as_object_mut().expect("an error is an object");
    fields.remove("channel");
    error
}

#[tokio::test]
async fn all_that_a_stranger_is_refused_looks_the_same() {
    let node = guarded(&[]).await;
    let mut client = Client::json(&node).await;
    let mut errors = Vec::new();
    for channel in ["chat:1", "user:u1", "lobby", "there:is:no:such:rule"] {
        for command in ["subscribe", "publish", "history", "presence"] {
            let command = json!({"type": command, "id": 1, "channel": channel, "data": 1});
            errors.push(without_channel(client.ask(command).await));
        }
    }
    let first = &errors[0];
    assert_eq!((&first["type"], &first["code"]), (&json!("error"), &json!("unauthorized")));
    assert!(errors.iter().all(|error| error == first), "{errors:#?}");
    let pong = client.ask(json!({"type": "ping", "id": 2})).await;
    assert_eq!(pong, json!({"type": "pong", "id": 2}), "the connection stays open");
    assert_eq!(node.metric("tidegate_rejected_total{reason=\"forbidden\"}").await, 16.0);
}

#[tokio::test]
async fn who_shows_no_token_in_time_is_closed_with_4001() {
    let node = guarded(&["auth.timeout=500ms"]).await;
    let mut client = Client::json(&node).await;
    let frame = client.is_closed().await;
    assert_eq!(u16::from(frame.code), 4001);
    assert!(frame.reason.contains("auth.timeout"), "{}", frame.reason);
}

#[tokio::test]
async fn where_something_is_for_anyone_a_stranger_may_stay() {
    let rules = r#"rules=[{ pattern = "news", subscribe = "anyone", publish = "token" }]"#;
    let node = Node::alone(&[KEYS, rules, "auth.timeout=100ms"]).await;
    let mut stranger = Client::subscribed(&node, "news").await;
    let refused = json!({"type": "publish", "id": 1, "channel": "news", "data": 1});
    assert_eq!(stranger.ask(refused).await["code"], "unauthorized");
    // Long past its time, as it takes this token longer to end.
    let token = token::token(1.0, json!({"sub": "u1", "publish": ["news"]}));
    let mut bearer = Client::json(&node).await;
    bearer.ask(json!({"type": "auth", "id": 1, "token": token})).await;
    bearer.publish("news", json!("first")).await;
    assert_eq!(u16::from(bearer.is_closed().await.code), 4001);
    let mut event = publication("news", "first");
    event["user"] = json!("u1");
    assert_eq!(stranger.event().await, event);
    assert_eq!(stranger.ask(json!({"type": "ping", "id": 2})).await["type"], "pong");
}

#[tokio::test]
async fn a_token_in_band_opens_what_it_lists() {
    let node = guarded(&[]).await;
    let mut client = Client::json(&node).await;
    // All in one go: what follows the token waits for it.
    let token = token::of("u1", &["chat:1"]);
    client.command(json!({"type": "auth", "id": 1, "token": token})).await;
    client.command(json!({"type": "subscribe", "id": 2, "channel": "chat:1"})).await;
    client.command(json!({"type": "subscribe", "id": 3, "channel": "chat:2"})).await;
    let authenticated = client.answer(1).await;
    assert_eq!(
        (&authenticated["type"], &authenticated["user"]),
        (&json!("authenticated"), &json!("u1"))
    );
    let left = authenticated["expires_in_ms"].as_u64().expect("it expires");
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    assert_eq!(client.answer(2).await["type"], "subscribed");
    let error = client.answer(3).await;
    assert_eq!((&error["code"], &error["temporary"]), (&json!("forbidden"), &json!(false)));
}

#[tokio::test]
async fn a_bad_token_in_band_is_answered_and_changes_nothing() {
    let node = guarded(&[]).await;
    let mut client = Client::json(&node).await;
    let good = token::of("u1", &["chat:1"]);
    client.ask(json!({"type": "auth", "id": 1, "token": good})).await;
    client.ask(json!({"type": "subscribe", "id": 2, "channel": "chat:1"})).await;
    for bad in [
        "",
        "x",
        "a.b.c",
        &token::signed("another secret of the right length!", 60.0, json!({"sub": "u2"})),
    ] {
        let error = client.ask(json!({"type": "auth", "id": 3, "token": bad})).await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("unauthorized")));
    }
    let answer =
        client.ask(json!({"type": "publish", "id": 4, "channel": "chat:1", "data": 1})).await;
    assert_eq!(answer["type"], "published");
    assert_eq!(client.event().await["user"], "u1");
}

#[tokio::test]
async fn without_tokens_an_auth_command_is_told_so() {
    let node = Node::alone(&[]).await;
    let mut client = Client::json(&node).await;
    let error = client.ask(json!({"type": "auth", "id": 1, "token": "x"})).await;
    assert_eq!(error["code"], "bad_request");
    assert!(error["message"].as_str().is_some_and(|it| it.contains("auth.mode")), "{error}");
}

#[tokio::test]
async fn who_tries_one_token_after_the_other_is_closed_with_4001() {
    let node = guarded(&[]).await;
    let mut client = Client::json(&node).await;
    for id in 1..=10 {
        let error = client.ask(json!({"type": "auth", "id": id, "token": "x"})).await;
        assert_eq!(error["code"], "unauthorized");
    }
    client.command(json!({"type": "auth", "id": 11, "token": "x"})).await;
    assert_eq!(u16::from(client.is_closed().await.code), 4001);
}
