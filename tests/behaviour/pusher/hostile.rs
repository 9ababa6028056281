//! Clients that misuse the protocol: each ends only its own connection.

use serde_json::json;
use testkit::node::Node;

use super::{APP, APPS, Pusher, event, publish};

#[tokio::test]
async fn a_flood_of_wrong_signatures_ends_that_connection_alone() {
    let node = Node::standalone(&[APPS]).await;
    let mut victim = Pusher::subscribed(&node, APP, "news").await;
    let mut flooder = Pusher::connect(&node, APP).await;
    for number in 0..150 {
        let data = json!({"channel": format!("private-{number}"), "auth": format!("app-key:{number:064x}")});
        let message = json!({"event": "pusher:subscribe", "data": data}).to_string();
        if flooder.client.try_send(message).await.is_err() {
            break;
        }
    }
    assert_eq!(u16::from(flooder.closed().await.code), 4099);
    publish(&node, "news", "still here").await;
    assert_eq!(victim.event().await, event("message", "news", "still here"));
}

#[tokio::test]
async fn giant_data_about_users_is_refused_with_its_bound() {
    let node = Node::standalone(&[APPS]).await;
    let mut pusher = Pusher::connect(&node, APP).await;
    let giant = "x".repeat(20_000);
    pusher.ask("presence-room", Some(json!({"user_id": "u", "user_info": {"a": giant}}))).await;
    let refused = pusher.event().await;
    assert!(
        refused["data"]["error"].as_str().is_some_and(|it| it.contains("10240 bytes")),
        "{refused}"
    );
    pusher.sign_in(json!({"id": "u", "user_info": {"a": giant}})).await;
    let refused = pusher.event().await;
    assert!(
        refused["data"]["message"].as_str().is_some_and(|it| it.contains("10240 bytes")),
        "{refused}"
    );
    pusher.quiet().await;
}

#[tokio::test]
async fn deep_and_broken_messages_are_answered_and_many_of_them_end_the_connection() {
    let node = Node::standalone(&[APPS]).await;
    let mut pusher = Pusher::connect(&node, APP).await;
    let deep = format!(
        r#"{{"event":"client-a","channel":"private-a","data":{}1{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    for message in [deep.as_str(), "{", "[]", "hello", r#"{"event":"pusher:subscribe","data":[]}"#]
    {
        pusher.client.send(message.to_owned()).await;
        assert_eq!(pusher.event().await["event"], "pusher:error", "{message}");
    }
    for _ in 0..150 {
        if pusher.client.try_send("{".to_owned()).await.is_err() {
            break;
        }
    }
    assert_eq!(u16::from(pusher.closed().await.code), 4099);
}
