//! `auth` with a new token on an open connection.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::token;

use super::node_requiring_tokens;

async fn authenticate(client: &mut Client, seconds: f64, claims: Value) {
    let token = token::token(seconds, claims);
    let answer = client.request(json!({"type": "auth", "id": 7, "token": token})).await;
    assert_eq!(answer["type"], "authenticated", "{answer}");
}

#[tokio::test]
async fn a_new_token_keeps_the_connection_and_ends_only_subscriptions_it_forbids() {
    let node = node_requiring_tokens(&[]).await;
    let mut client = Client::json(&node).await;
    let both = json!({"sub": "u1", "subscribe": ["chat:1", "chat:2"], "publish": ["chat:*"]});
    authenticate(&mut client, 2.0, both).await;
    for channel in ["chat:1", "chat:2"] {
        client.request(json!({"type": "subscribe", "id": 1, "channel": channel})).await;
    }
    let one = json!({"sub": "u1", "subscribe": ["chat:1"], "publish": ["chat:*"]});
    authenticate(&mut client, 4.0, one).await;
    let mut events = Vec::new();
    let ended = loop {
        let event = client.event().await;
        if event["type"] == "error" {
            break event;
        }
        events.push(event);
    };
    assert_eq!((&ended["channel"], &ended["code"]), (&json!("chat:2"), &json!("forbidden")));
    assert!(ended.get("id").is_none());
    // The subscription that is still allowed continues, the other one has ended.
    for channel in ["chat:2", "chat:1"] {
        client.request(json!({"type": "publish", "id": 2, "channel": channel, "data": 1})).await;
    }
    let received = loop {
        let event = client.event().await;
        if event["type"] == "publication" {
            break event;
        }
    };
    assert_eq!(received["channel"], "chat:1");
    // The second token expires two seconds after the first.
    let first = token::now();
    let frame = client.receive_close().await;
    assert_eq!(u16::from(frame.code), 4001);
    assert!(token::now() - first > 1.0, "the session ended when the first token expired");
}

#[tokio::test]
async fn an_anonymous_session_that_authenticates_is_present_as_its_user() {
    let rules =
        r#"rules=[{ pattern = "hall", subscribe = "anyone", publish = "token", presence = true }]"#;
    let node = testkit::node::Node::standalone(&[token::KEYS, rules, "presence.grace=0s"]).await;
    let mut client = Client::json(&node).await;
    client.request(json!({"type": "subscribe", "id": 1, "channel": "hall"})).await;
    let members = json!({"type": "presence", "id": 2, "channel": "hall"});
    let anonymous = client.request(members.clone()).await;
    assert_eq!(anonymous["members"], json!([{"user": null, "sessions": 1}]));
    authenticate(&mut client, 60.0, json!({"sub": "u1"})).await;
    let authenticated = client.request(members).await;
    assert_eq!(authenticated["members"], json!([{"user": "u1", "sessions": 1}]));
}
