//! A new token on the same connection.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::token;

use super::guarded;

async fn authenticate(client: &mut Client, seconds: f64, claims: Value) {
    let token = token::token(seconds, claims);
    let answer = client.ask(json!({"type": "auth", "id": 7, "token": token})).await;
    assert_eq!(answer["type"], "authenticated", "{answer}");
}

#[tokio::test]
async fn a_new_token_keeps_the_connection_and_what_is_still_allowed() {
    let node = guarded(&[]).await;
    let mut client = Client::json(&node).await;
    let both = json!({"sub": "u1", "subscribe": ["chat:1", "chat:2"], "publish": ["chat:*"]});
    authenticate(&mut client, 2.0, both).await;
    for channel in ["chat:1", "chat:2"] {
        client.ask(json!({"type": "subscribe", "id": 1, "channel": channel})).await;
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
    // What is still allowed goes on, what is not has ended.
    for channel in ["chat:2", "chat:1"] {
        client.ask(json!({"type": "publish", "id": 2, "channel": channel, "data": 1})).await;
    }
    let heard = loop {
        let event = client.event().await;
        if event["type"] == "publication" {
            break event;
        }
    };
    assert_eq!(heard["channel"], "chat:1");
    // The first token's time is long over when the second's is.
    let first = token::now();
    let frame = client.is_closed().await;
    assert_eq!(u16::from(frame.code), 4001);
    assert!(token::now() - first > 1.0, "it ended with the first token");
}

#[tokio::test]
async fn who_becomes_somebody_is_present_as_such() {
    let rules =
        r#"rules=[{ pattern = "hall", subscribe = "anyone", publish = "token", presence = true }]"#;
    let node = testkit::node::Node::alone(&[token::KEYS, rules, "presence.grace=0s"]).await;
    let mut client = Client::json(&node).await;
    client.ask(json!({"type": "subscribe", "id": 1, "channel": "hall"})).await;
    let members = json!({"type": "presence", "id": 2, "channel": "hall"});
    let stranger = client.ask(members.clone()).await;
    assert_eq!(stranger["members"], json!([{"user": null, "sessions": 1}]));
    authenticate(&mut client, 60.0, json!({"sub": "u1"})).await;
    let somebody = client.ask(members).await;
    assert_eq!(somebody["members"], json!([{"user": "u1", "sessions": 1}]));
}
