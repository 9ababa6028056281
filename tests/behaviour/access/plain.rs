//! Access in the plain protocol, which reports refusals only by close codes; and the ways to send a token.

use serde_json::json;
use testkit::client::Client;
use testkit::node::Node;
use testkit::raw::{RawClient, text, upgrade};
use testkit::token::{self, KEYS};

use super::node_requiring_tokens;

async fn assert_closed_with(node: &Node, path: &str, code: u16) {
    let mut client = Client::open(node, path).await;
    assert_eq!(u16::from(client.receive_close().await.code), code, "{path}");
}

#[tokio::test]
async fn a_client_without_access_is_closed_with_4001_or_4003_after_the_upgrade() {
    let node = node_requiring_tokens(&[]).await;
    let u1 = token::for_user("u1", &["chat:1"]);
    assert_closed_with(&node, "/ws/chat:1", 4001).await;
    assert_closed_with(&node, "/ws/chat:1?token=nonsense", 4001).await;
    assert_closed_with(&node, "/ws?token=nonsense", 4001).await;
    assert_closed_with(&node, &format!("/ws/chat:2?token={u1}"), 4003).await;
    assert_closed_with(&node, &format!("/ws/nowhere?token={u1}"), 4003).await;
    node.wait_for_metric("tidegate_connections_closed_total{reason=\"unauthorized\"}", 3.0).await;
    node.wait_for_metric("tidegate_connections_closed_total{reason=\"forbidden\"}", 2.0).await;
}

#[tokio::test]
async fn a_subscribe_only_client_that_publishes_is_closed_and_a_publish_only_client_receives_nothing()
 {
    let rules = r#"rules=[{ pattern = "*", subscribe = "token", publish = "token" }]"#;
    let node = Node::standalone(&[KEYS, rules]).await;
    let subscribe_only = token::token(60.0, json!({"subscribe": ["news"]}));
    let publish_only = token::token(60.0, json!({"publish": ["news"]}));
    let mut subscriber = Client::open(&node, &format!("/ws/news?token={subscribe_only}")).await;
    let mut publisher = Client::open(&node, &format!("/ws/news?token={publish_only}")).await;
    publisher.send("first").await;
    assert_eq!(subscriber.receive_text().await, "first");
    subscriber.send("not allowed").await;
    assert_eq!(u16::from(subscriber.receive_close().await.code), 4003);
    publisher.close().await;
    assert_eq!(node.metric("tidegate_publications_delivered_total{protocol=\"plain\"}").await, 1.0);
}

#[tokio::test]
async fn an_anonymous_client_that_publishes_where_no_client_may_is_closed_with_4003() {
    let rules = r#"rules=[{ pattern = "feed", subscribe = "anyone", publish = "nobody" },
        { pattern = "news", subscribe = "anyone", publish = "token" }]"#;
    let node = Node::standalone(&[KEYS, rules]).await;
    // On `news` a token could help.
    for (channel, code, error) in [("feed", 4003, "forbidden"), ("news", 4001, "unauthorized")] {
        let mut client = Client::plain(&node, channel).await;
        client.send("not allowed").await;
        assert_eq!(u16::from(client.receive_close().await.code), code, "{channel}");
        let publish = json!({"type": "publish", "id": 1, "channel": channel, "data": 1});
        let answer = Client::json(&node).await.request(publish).await;
        assert_eq!(answer["code"], error, "{channel}: {answer}");
    }
}

#[tokio::test]
async fn a_token_is_accepted_from_the_header_the_query_and_the_subprotocol() {
    let node = node_requiring_tokens(&[]).await;
    let token = token::for_user("u1", &["chat:1"]);
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
        let mut client = RawClient::connect(&node).await;
        client.send(upgrade(&path, more)).await;
        let response = client.response().await;
        assert_eq!(response.status, 101, "{path}");
        assert_eq!(response.header("sec-websocket-protocol"), subprotocol, "{path}");
        let sent = r#"{"type":"publish","id":1,"channel":"chat:1","data":1}"#;
        client.send(text(sent)).await;
        let received = loop {
            let received = String::from_utf8(client.message().await.payload.clone()).expect("text");
            if !received.contains("welcome") {
                break received;
            }
        };
        assert!(received == sent || received.contains("published"), "{path}: {received}");
    }
}

#[tokio::test]
async fn a_subprotocol_list_that_holds_only_a_token_is_refused_with_400() {
    let node = node_requiring_tokens(&[]).await;
    let mut client = RawClient::connect(&node).await;
    let token = token::for_user("u1", &["chat:1"]);
    client.send(upgrade("/ws", &format!("Sec-WebSocket-Protocol: bearer.{token}\r\n"))).await;
    let response = client.response().await;
    assert_eq!(response.status, 400);
    assert!(!response.text().contains(&token));
}
