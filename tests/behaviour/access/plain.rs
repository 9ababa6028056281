//! The plain protocol, whose only words are the close codes; and the ways to carry a token.

use serde_json::json;
use testkit::client::Client;
use testkit::node::Node;
use testkit::raw::{Raw, text, upgrade};
use testkit::token::{self, KEYS};

use super::guarded;

async fn closes(node: &Node, path: &str, code: u16) {
    let mut client = Client::open(node, path).await;
    assert_eq!(u16::from(client.is_closed().await.code), code, "{path}");
}

#[tokio::test]
async fn who_may_not_is_told_by_the_close_code_after_the_upgrade() {
    let node = guarded(&[]).await;
    let u1 = token::of("u1", &["chat:1"]);
    closes(&node, "/ws/chat:1", 4001).await;
    closes(&node, "/ws/chat:1?token=nonsense", 4001).await;
    closes(&node, "/ws?token=nonsense", 4001).await;
    closes(&node, &format!("/ws/chat:2?token={u1}"), 4003).await;
    closes(&node, &format!("/ws/nowhere?token={u1}"), 4003).await;
    node.metric_becomes("tidegate_connections_closed_total{reason=\"unauthorized\"}", 3.0).await;
    node.metric_becomes("tidegate_connections_closed_total{reason=\"forbidden\"}", 2.0).await;
}

#[tokio::test]
async fn who_may_only_listen_is_closed_when_it_publishes_and_who_may_only_publish_hears_nothing() {
    let rules = r#"rules=[{ pattern = "*", subscribe = "token", publish = "token" }]"#;
    let node = Node::alone(&[KEYS, rules]).await;
    let listens = token::token(60.0, json!({"subscribe": ["news"]}));
    let publishes = token::token(60.0, json!({"publish": ["news"]}));
    let mut listener = Client::open(&node, &format!("/ws/news?token={listens}")).await;
    let mut publisher = Client::open(&node, &format!("/ws/news?token={publishes}")).await;
    publisher.say("first").await;
    assert_eq!(listener.hears_text().await, "first");
    listener.say("not mine to say").await;
    assert_eq!(u16::from(listener.is_closed().await.code), 4003);
    publisher.close().await;
    assert_eq!(node.metric("tidegate_publications_delivered_total{protocol=\"plain\"}").await, 1.0);
}

#[tokio::test]
async fn a_token_is_carried_by_header_query_or_subprotocol() {
    let node = guarded(&[]).await;
    let token = token::of("u1", &["chat:1"]);
    let header = format!("Authorization: Bearer {token}\r\n");
    let json = format!("Sec-WebSocket-Protocol: bearer.{token}, tidegate.v1.json\r\n");
    let plain = format!("Sec-WebSocket-Protocol: tidegate.v1.plain, bearer.{token}\r\n");
    let encoded = token.replace('.', "%2E");
    for (path, more, subprotocol) in [
        ("/ws/chat:1".to_owned(), header.as_str(), None),
        (format!("/ws/chat:1?echo=true&token={encoded}"), "", None),
        ("/ws".to_owned(), &json, Some("tidegate.v1.json")),
        ("/ws/chat:1".to_owned(), &plain, Some("tidegate.v1.plain")),
    ] {
        let mut client = Raw::connect(&node).await;
        client.send(upgrade(&path, more)).await;
        let response = client.response().await;
        assert_eq!(response.status, 101, "{path}");
        assert_eq!(response.header("sec-websocket-protocol"), subprotocol, "{path}");
        let said = r#"{"type":"publish","id":1,"channel":"chat:1","data":1}"#;
        client.send(text(said)).await;
        let heard = loop {
            let heard = String::from_utf8(client.message().await.payload.clone()).expect("text");
            if !heard.contains("welcome") {
                break heard;
            }
        };
        assert!(heard == said || heard.contains("published"), "{path}: {heard}");
    }
}

#[tokio::test]
async fn only_a_token_is_no_subprotocol() {
    let node = guarded(&[]).await;
    let mut client = Raw::connect(&node).await;
    let token = token::of("u1", &["chat:1"]);
    client.send(upgrade("/ws", &format!("Sec-WebSocket-Protocol: bearer.{token}\r\n"))).await;
    let response = client.response().await;
    assert_eq!(response.status, 400);
    assert!(!response.text().contains(&token));
}
