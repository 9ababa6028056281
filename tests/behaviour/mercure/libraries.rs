//! The exact requests of server libraries, as their sources build them.

use serde_json::json;
use testkit::http::request;
use testkit::node::Node;
use testkit::token::{self, KEYS};

use super::{HUB, MERCURE, follow_with, next, next_data};

const RULES: &str =
    r#"rules=[{pattern="**",subscribe="anyone",publish="token",history={size=50,age="10m"}}]"#;

/// Sends a body as Symfony's HTTP client does.
async fn send(node: &Node, token: &str, body: &str) -> String {
    let headers = [
        ("Accept", "*/*"),
        ("Authorization", &format!("Bearer {token}")),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("User-Agent", "Symfony HttpClient (Curl)"),
        ("Accept-Encoding", "gzip"),
    ];
    let answer = request(node.public, "POST", HUB, &headers, body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text()
}

#[tokio::test]
async fn the_requests_of_symfonys_component_publish_updates() {
    let node = Node::standalone(&[MERCURE, KEYS, RULES]).await;
    let token = token::token(3600., json!({"mercure": {"publish": ["*"], "subscribe": []}}));
    let reader =
        token::token(3600., json!({"mercure": {"subscribe": ["https://example.com/books/{id}"]}}));
    let mut stream = follow_with(&node, &["https://example.com/books/1", "other"], &reader).await;
    // `new Update('https://example.com/books/1', '{"status": "OutOfStock"}')`, in which PHP's urlencode writes spaces as +.
    let body =
        "topic=https%3A%2F%2Fexample.com%2Fbooks%2F1&data=%7B%22status%22%3A+%22OutOfStock%22%7D";
    assert!(!send(&node, &token, body).await.is_empty());
    // `new Update(['https://example.com/books/1', 'other'], 'x', true, 'urn:1', 'book', 5000)`.
    let body = "topic=https%3A%2F%2Fexample.com%2Fbooks%2F1&topic=other&data=x&private=on&id=urn%3A1&type=book&retry=5000";
    send(&node, &token, body).await;
    assert_eq!(next_data(&mut stream).await, r#"{"status": "OutOfStock"}"#);
    assert_eq!(next(&mut stream).await, ("book".to_owned(), "x".to_owned()));
    assert_eq!(stream.retry, Some(5000));
}

#[tokio::test]
async fn the_updates_of_laravels_broadcaster_reach_a_subscriber_with_its_cookie() {
    let node = Node::standalone(&[MERCURE, KEYS, RULES]).await;
    let grant = |actions: &[&str], topics: &[&str]| {
        let topics: Vec<_> = topics.iter().map(|topic| json!({"match": topic})).collect();
        json!({"type": "https://mercure.rocks/authorization-detail", "actions": actions, "topics": topics})
    };
    let (topic, whisper) = (
        "https://laravel.alt/echo/channel/private-orders.1",
        "https://laravel.alt/echo/whisper/private-orders.1",
    );
    let publisher =
        token::token(3600., json!({"authorization_details": [grant(&["publish"], &["*"])]}));
    let cookie = token::token(
        300.,
        json!({"sub": "7", "authorization_details": [grant(&["subscribe"], &[topic]), grant(&["subscribe", "publish"], &[whisper])]}),
    );
    let mut stream = {
        let path =
            format!("{HUB}?match={}&match={}", super::encoded(topic), super::encoded(whisper));
        let header = format!("Cookie: __Secure-mercure_access_token={cookie}\r\n");
        let opened = testkit::event_stream::EventStream::request(node.public, &path, &header).await;
        opened.unwrap_or_else(|refused| panic!("{refused:?}"))
    };
    let data = r#"{"channels":["private-orders.1"],"event":"OrderShipped","payload":{"id":1}}"#;
    let body = super::form(&[("topic", topic), ("data", data), ("private", "on")]);
    send(&node, &publisher, &body).await;
    assert_eq!(next_data(&mut stream).await, data);
    let body = super::form(&[("topic", whisper), ("data", "typing"), ("private", "on")]);
    send(&node, &cookie, &body).await;
    assert_eq!(next_data(&mut stream).await, "typing");
    let forged = super::form(&[("topic", topic), ("data", "forged")]);
    let header = format!("Bearer {cookie}");
    let answer =
        request(node.public, "POST", HUB, &[("Authorization", &header)], forged.as_bytes()).await;
    assert_eq!(answer.status, 403, "a whisper grant forges no event of the server");
}
