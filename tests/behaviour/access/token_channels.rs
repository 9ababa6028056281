//! Subscriptions from the `channels` claim of a token.

use serde_json::json;
use testkit::client::{Client, publication};
use testkit::node::Node;
use testkit::token::{self, KEYS};

use super::node_requiring_tokens;

#[tokio::test]
async fn the_node_subscribes_a_session_to_its_tokens_channels_on_connect() {
    let node = Node::standalone(&[KEYS]).await;
    let claims = json!({"sub": "u1", "channels": ["inbox:1", "inbox:2"]});
    let token = token::token(60.0, claims);
    let mut client = Client::open(&node, &format!("/ws?token={token}")).await;
    assert_eq!(client.event().await["type"], "welcome");
    for channel in ["inbox:1", "inbox:2"] {
        assert_eq!(client.event().await, json!({"type": "subscribed", "channel": channel}));
    }
    assert_eq!(node.post("/api/publish/inbox:2", &[], b"5").await.status, 202);
    assert_eq!(client.event().await, publication("inbox:2", 5));
    // The client may unsubscribe from one of them and subscribe again.
    client.request(json!({"type": "unsubscribe", "id": 1, "channel": "inbox:2"})).await;
    client.subscribe("inbox:2").await;
    let other = json!({"type": "subscribe", "id": 2, "channel": "inbox:3"});
    assert_eq!(client.request(other).await["code"], "forbidden");
}

#[tokio::test]
async fn a_token_channel_that_a_rule_denies_is_answered_with_an_error_and_the_others_are_kept() {
    let node = node_requiring_tokens(&["session.channels_max=1"]).await;
    let claims = json!({"sub": "u1", "channels": ["user:u2", "chat:1", "chat:2"]});
    let token = token::token(60.0, claims);
    let mut client = Client::open(&node, &format!("/ws?token={token}")).await;
    let mut events = Vec::new();
    while events.len() < 4 {
        let event = client.event().await;
        if event["type"] != "join" {
            events.push(event);
        }
    }
    let found = |name: &str| events.iter().find(|event| event["channel"] == name);
    assert_eq!(found("user:u2").expect("one event per channel")["code"], "forbidden");
    assert_eq!(found("chat:2").expect("one event per channel")["code"], "limit_reached");
    assert_eq!(found("chat:1").expect("one event per channel")["type"], "subscribed");
}
