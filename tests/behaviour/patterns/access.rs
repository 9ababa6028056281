//! Access: a pattern shows only channels to which its session may subscribe.

use std::time::Duration;

use serde_json::json;
use testkit::client::{Client, publication};
use testkit::node::Node;
use testkit::token::{self, KEYS};

const RULES: &str = r#"rules=[
    { pattern = "orders:eu:secret", subscribe = "nobody", publish = "anyone" },
    { pattern = "orders:**", subscribe = "token", publish = "anyone", patterns = true },
    { pattern = "user:{user}:*", subscribe = "user", publish = "anyone", patterns = true }]"#;

async fn client(node: &Node, user: &str, subscribe: &[&str]) -> Client {
    let token = token::token(3600., json!({"sub": user, "subscribe": subscribe}));
    let mut client = Client::open(node, &format!("/ws?token={token}")).await;
    assert_eq!(client.event().await["type"], "welcome");
    client
}

#[tokio::test]
async fn a_pattern_shows_only_the_channels_that_the_token_lists() {
    let node = Node::standalone(&[KEYS, RULES]).await;
    let mut some = client(&node, "u1", &["orders:eu:1", "orders:us:*"]).await;
    let subscribe = json!({"type": "subscribe", "id": 1, "pattern": "orders:eu:*"});
    let expected =
        json!({"type": "subscribed", "id": 1, "pattern": "orders:eu:*", "partial": true});
    assert_eq!(some.request(subscribe.clone()).await, expected);
    let mut none = client(&node, "u2", &["orders:us:*"]).await;
    assert_eq!(none.request(subscribe).await["code"], "forbidden");
    for channel in ["orders:eu:2", "orders:eu:secret", "orders:us:1", "orders:eu:1"] {
        some.publish(channel, json!(channel)).await;
    }
    assert_eq!(
        some.event().await,
        json!({"type": "publication", "channel": "orders:eu:1", "data": "orders:eu:1", "user": "u1"})
    );
}

#[tokio::test]
async fn a_pattern_of_a_rule_with_user_shows_only_the_users_own_channels() {
    let node = Node::standalone(&[KEYS, RULES]).await;
    let mut u1 = client(&node, "u1", &[]).await;
    let all = json!({"type": "subscribe", "id": 1, "pattern": "user:*:inbox"});
    let answer = u1.request(all).await;
    assert_eq!((&answer["type"], &answer["partial"]), (&json!("subscribed"), &json!(true)));
    let others = json!({"type": "subscribe", "id": 2, "pattern": "user:u2:*"});
    assert_eq!(u1.request(others).await["code"], "forbidden");
    let own = json!({"type": "subscribe", "id": 3, "pattern": "user:u1:*"});
    let expected = json!({"type": "subscribed", "id": 3, "pattern": "user:u1:*"});
    assert_eq!(u1.request(own).await, expected);
    for channel in ["user:u2:inbox", "user:u1:inbox"] {
        let published = node.post(&format!("/api/publish/{channel}"), &[], b"1").await;
        assert_eq!(published.status, 202);
    }
    assert_eq!(u1.event().await["channel"], "user:u1:inbox");
}

#[tokio::test]
async fn another_token_changes_what_a_pattern_shows_and_ends_it_where_it_lists_nothing() {
    let node = Node::standalone(&[KEYS, RULES]).await;
    let mut own = client(&node, "u1", &["orders:eu:1"]).await;
    let subscribe = json!({"type": "subscribe", "id": 1, "pattern": "orders:eu:*"});
    assert_eq!(own.request(subscribe).await["type"], "subscribed");
    let auth = |listed: &str| {
        let token = token::token(3600., json!({"sub": "u1", "subscribe": [listed]}));
        json!({"type": "auth", "id": 2, "token": token})
    };
    assert_eq!(own.request(auth("orders:eu:2")).await["type"], "authenticated");
    for channel in ["orders:eu:1", "orders:eu:2"] {
        own.publish(channel, json!(1)).await;
    }
    assert_eq!(own.event().await["channel"], "orders:eu:2");
    assert_eq!(own.request(auth("orders:us:*")).await["type"], "authenticated");
    let ended = own.event().await;
    assert_eq!(
        (&ended["type"], &ended["pattern"], &ended["code"]),
        (&json!("error"), &json!("orders:eu:*"), &json!("forbidden")),
        "{ended}"
    );
    node.wait_for_metric("tidegate_patterns", 0.).await;
}

#[tokio::test]
async fn an_anonymous_client_needs_a_token_for_a_pattern_that_no_rule_opens() {
    let node = Node::standalone(&[KEYS, RULES]).await;
    let mut anonymous = Client::json(&node).await;
    let subscribe = json!({"type": "subscribe", "id": 1, "pattern": "orders:eu:*"});
    assert_eq!(anonymous.request(subscribe).await["code"], "unauthorized");
}

#[tokio::test]
async fn without_rules_and_tokens_a_client_may_subscribe_to_every_pattern() {
    let node = Node::standalone(&[]).await;
    let mut client = Client::json(&node).await;
    let subscribe = json!({"type": "subscribe", "id": 1, "pattern": "**"});
    assert_eq!(client.request(subscribe).await["type"], "subscribed");
    client.publish("a:b", json!(1)).await;
    let event = tokio::time::timeout(Duration::from_secs(10), client.event()).await.unwrap();
    assert_eq!(event, publication("a:b", 1));
}
