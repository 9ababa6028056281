//! Which commands rules and tokens allow.

use serde_json::json;
use testkit::client::Client;
use testkit::node::{Node, run_to_end, tidegate};
use testkit::token::{self, KEYS};

use super::node_requiring_tokens;

/// A json client that sent this token in its upgrade request.
async fn client_with_token(node: &Node, token: &str) -> Client {
    let mut client = Client::open(node, &format!("/ws?token={token}")).await;
    assert_eq!(client.event().await["type"], "welcome");
    client
}

#[tokio::test]
async fn the_first_matching_rule_and_the_token_decide_what_a_client_may_do() {
    let node = node_requiring_tokens(&[]).await;
    let mut u1 = client_with_token(&node, &token::for_user("u1", &["chat:{user}", "other"])).await;
    for (command, channel, outcome) in [
        ("subscribe", "user:u1", "subscribed"),
        ("subscribe", "user:u2", "forbidden"),
        ("publish", "user:u1", "forbidden"),
        ("subscribe", "chat:u1", "subscribed"),
        ("subscribe", "chat:u2", "forbidden"),
        ("publish", "chat:u1", "published"),
        ("history", "chat:u2", "forbidden"),
        ("presence", "chat:u2", "forbidden"),
        ("subscribe", "lobby", "subscribed"),
        // The token lists this channel, but rules decide, and none matches it.
        ("subscribe", "other", "forbidden"),
        ("publish", "other", "forbidden"),
    ] {
        let request = json!({"type": command, "id": 1, "channel": channel, "data": 1});
        let answer = u1.request(request).await;
        let found = if answer["type"] == "error" { &answer["code"] } else { &answer["type"] };
        assert_eq!(found, outcome, "{command} {channel}: {answer}");
    }
}

#[tokio::test]
async fn without_rules_a_client_may_do_exactly_what_its_token_lists() {
    let node = Node::standalone(&[KEYS]).await;
    let token = token::token(60.0, json!({"subscribe": ["a:*"], "publish": ["b"]}));
    let mut client = client_with_token(&node, &token).await;
    client.subscribe("a:1").await;
    client.publish("b", json!(1)).await;
    let refused = json!({"type": "publish", "id": 9, "channel": "a:1", "data": 1});
    assert_eq!(client.request(refused).await["code"], "forbidden");
}

#[tokio::test]
async fn without_authentication_a_channel_that_no_rule_matches_is_forbidden() {
    let rules = r#"rules=[{ pattern = "open" }, { pattern = "news", subscribe = "anyone", publish = "nobody" }]"#;
    let node = Node::standalone(&[rules]).await;
    let mut client = Client::subscribed(&node, "open").await;
    client.subscribe("news").await;
    client.publish("open", json!(1)).await;
    for (command, channel) in [("publish", "news"), ("publish", "other"), ("subscribe", "other")] {
        let request = json!({"type": command, "id": 9, "channel": channel, "data": 1});
        assert_eq!(client.request(request).await["code"], "forbidden", "{command} {channel}");
    }
}

#[tokio::test]
async fn join_events_and_presence_name_the_users_of_a_channel() {
    let node = node_requiring_tokens(&[]).await;
    let mut u1 = client_with_token(&node, &token::for_user("u1", &["chat:*"])).await;
    u1.request(json!({"type": "subscribe", "id": 1, "channel": "lobby"})).await;
    // Its own join may arrive before or after the answer.
    assert_eq!(u1.event().await, json!({"type": "join", "channel": "lobby", "user": "u1"}));
    let mut u2 = client_with_token(&node, &token::for_user("u2", &["chat:*"])).await;
    u2.request(json!({"type": "subscribe", "id": 1, "channel": "lobby"})).await;
    assert_eq!(u1.event().await, json!({"type": "join", "channel": "lobby", "user": "u2"}));
    let members = u1.request(json!({"type": "presence", "id": 2, "channel": "lobby"})).await;
    let expected = json!([{"user": "u1", "sessions": 1}, {"user": "u2", "sessions": 1}]);
    assert_eq!(members["members"], expected);
}

#[tokio::test]
async fn the_command_line_signs_tokens_and_explains_access() {
    let run = async |arguments: &[&str]| {
        let rules = r#"rules=[{ pattern = "chat:*" }]"#;
        let arguments = [arguments, &["--set", KEYS, "--set", rules]].concat();
        let output = run_to_end(tidegate(&arguments)).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("the output is text")
    };
    let token = run(&["token", "--user", "u1", "--subscribe", "chat:1"]).await;
    let token = token.trim_end();
    let mine = run(&["explain", "--channel", "chat:1", "--token", token]).await;
    assert!(mine.contains("subscribe  yes") && mine.contains("publish    no"), "{mine}");
    let other = run(&["explain", "--channel", "chat:2", "--token", token]).await;
    assert!(other.contains("subscribe  no"), "{other}");
    assert!(!other.contains(token), "explain prints the token");
    let anonymous = run(&["explain", "--channel", "news"]).await;
    assert!(anonymous.contains("none matches"), "{anonymous}");
    let node = Node::standalone(&[KEYS]).await;
    client_with_token(&node, token).await.subscribe("chat:1").await;
}
