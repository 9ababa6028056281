//! Who gets a stream: tokens, origins, limits, and requests that ask for none.

use serde_json::json;
use testkit::event_stream::EventStream;
use testkit::http::{Response, request};
use testkit::node::Node;
use testkit::raw::RawClient;
use testkit::token::{self, KEYS};

const RULES: &str = r#"rules=[
    { pattern = "lobby", subscribe = "user", publish = "user" },
    { pattern = "chat:*", subscribe = "token", publish = "nobody" },
    { pattern = "inbox", subscribe = "nobody", publish = "anyone" }]"#;

async fn guarded(settings: &[&str]) -> Node {
    Node::standalone(&[&[KEYS, RULES], settings].concat()).await
}

async fn refused(node: &Node, path: &str, headers: &str) -> Response {
    match EventStream::request(node.public, path, headers).await {
        Err(refused) => refused,
        Ok(_) => panic!("{path} was let in"),
    }
}

fn code(response: &Response) -> String {
    response.json()["error"]["code"].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn a_token_in_the_header_or_the_query_opens_and_its_lack_is_a_status() {
    let node = guarded(&[]).await;
    let token = token::for_user("ada", &["chat:1"]);
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for path in ["/sse/lobby", "/sse/chat:1"] {
        assert!(EventStream::request(node.public, path, &bearer).await.is_ok());
        assert!(
            EventStream::request(node.public, &format!("{path}?token={token}"), "").await.is_ok()
        );
        let refused = refused(&node, path, "").await;
        assert_eq!((refused.status, code(&refused)), (401, "unauthorized".to_owned()));
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    }
    let bad = refused(&node, "/sse/lobby?token=x", "").await;
    assert_eq!((bad.status, code(&bad)), (401, "unauthorized".to_owned()));
    for path in ["/sse/chat:2", "/sse/inbox"] {
        let forbidden = refused(&node, path, &bearer).await;
        assert_eq!((forbidden.status, code(&forbidden)), (403, "forbidden".to_owned()), "{path}");
    }
    // What was refused left nothing behind.
    node.wait_for_metric("tidegate_connections", 0.).await;
    let rejected = r#"tidegate_rejected_total{reason="forbidden"}"#;
    assert!(node.metric(rejected).await >= 4.);
}

#[tokio::test]
async fn a_stream_ends_with_its_token_and_the_next_is_refused() {
    let node = guarded(&["auth.leeway=0s"]).await;
    let token = token::token(2., json!({ "sub": "ada" }));
    let path = format!("/sse/lobby?token={token}");
    let mut stream = EventStream::open(&node, &path).await;
    assert_eq!(stream.try_event().await, None);
    assert_eq!(refused(&node, &path, "").await.status, 401);
}

#[tokio::test]
async fn a_disconnected_user_loses_its_streams() {
    let node = guarded(&[]).await;
    let path = format!("/sse/lobby?token={}", token::for_user("ada", &[]));
    let mut stream = EventStream::open(&node, &path).await;
    assert_eq!(node.post("/api/disconnect?user=ada", &[], b"").await.status, 202);
    assert_eq!(stream.try_event().await, None);
    assert_eq!(refused(&node, &path, "").await.status, 401);
}

#[tokio::test]
async fn pages_of_allowed_origins_can_read_and_others_get_nothing() {
    let node = Node::standalone(&["server.origins=app.example"]).await;
    let allowed = "Origin: https://app.example\r\n";
    let mut raw = RawClient::connect(&node).await;
    let head = format!("GET /sse/news HTTP/1.1\r\nHost: localhost\r\n{allowed}\r\n");
    raw.send(head).await;
    let response = raw.response().await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(response.header("vary"), Some("origin"));
    // A page can read why, too.
    let bad = refused(&node, "/sse/news?last_event_id=x", allowed).await;
    assert_eq!(
        (bad.status, bad.header("access-control-allow-origin")),
        (400, Some("https://app.example"))
    );
    let elsewhere = refused(&node, "/sse/news", "Origin: https://elsewhere.example\r\n").await;
    assert_eq!((elsewhere.status, elsewhere.header("access-control-allow-origin")), (403, None));

    let preflight = async |origin: &str| {
        let headers = [("Origin", origin), ("Access-Control-Request-Headers", "last-event-id")];
        request(node.public, "OPTIONS", "/sse/news", &headers, b"").await
    };
    let answer = preflight("https://app.example").await;
    assert_eq!(answer.status, 204);
    let headers = answer.header("access-control-allow-headers").expect("which may be sent");
    assert!(headers.contains("last-event-id") && headers.contains("authorization"));
    assert_eq!(preflight("https://elsewhere.example").await.status, 403);
}

/// A page whose own host's name was made to point here sends no `Origin` with what it reads.
#[tokio::test]
async fn a_node_on_loopback_is_not_read_by_the_name_of_another_host() {
    let node = Node::standalone(&[]).await;
    for (host, status) in [("localhost", 200), ("evil.example", 403)] {
        let mut raw = RawClient::connect(&node).await;
        raw.send(format!("GET /sse/news HTTP/1.1\r\nHost: {host}:8080\r\n\r\n")).await;
        assert_eq!(raw.response().await.status, status, "{host}");
    }
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let node = Node::standalone(&[]).await;
    let post = request(node.public, "POST", "/sse/news", &[], b"x").await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, OPTIONS")));
    for (path, headers, named) in [
        ("/sse/news?last_event_id=x", "", "last_event_id"),
        ("/sse/news", "Last-Event-ID: 5\r\n", "Last-Event-ID"),
        ("/sse/", "", "channel name"),
        ("/sse/a%20b", "", "channel name"),
    ] {
        let refused = refused(&node, path, headers).await;
        let message = refused.json()["error"]["message"].to_string();
        assert!(refused.status == 400 && message.contains(named), "{path}: {message}");
    }
}

#[tokio::test]
async fn limits_count_streams_as_connections() {
    let node = guarded(&["limits.connections_per_user=1"]).await;
    let path = format!("/sse/lobby?token={}", token::for_user("ada", &[]));
    let first = EventStream::open(&node, &path).await;
    let second = refused(&node, &path, "").await;
    assert_eq!((second.status, code(&second)), (429, "limit_reached".to_owned()));
    assert!(second.header("retry-after").is_some());
    drop(first);
    node.wait_for_metric("tidegate_connections", 0.).await;
    EventStream::open(&node, &path).await;

    let node = Node::standalone(&["limits.connections_max=1"]).await;
    let _first = EventStream::open(&node, "/sse/news").await;
    let second = refused(&node, "/sse/news", "").await;
    assert_eq!(second.status, 503);
    assert!(second.header("retry-after").is_some());
}
