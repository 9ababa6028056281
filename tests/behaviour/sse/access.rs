//! Access to event streams: tokens, origins, limits, and invalid requests.

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

async fn node_requiring_tokens(settings: &[&str]) -> Node {
    Node::standalone(&[&[KEYS, RULES], settings].concat()).await
}

async fn refused(node: &Node, path: &str, headers: &str) -> Response {
    match EventStream::request(node.public, path, headers).await {
        Err(refused) => refused,
        Ok(_) => panic!("{path} was accepted"),
    }
}

fn code(response: &Response) -> String {
    response.json()["error"]["code"].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn an_event_stream_accepts_a_token_by_header_or_query_and_else_answers_401_or_403() {
    let node = node_requiring_tokens(&[]).await;
    let token = token::for_user("ada", &["chat:1"]);
    let header = format!("Authorization: Bearer {token}\r\n");
    for path in ["/sse/lobby", "/sse/chat:1"] {
        assert!(EventStream::request(node.public, path, &header).await.is_ok());
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
        let forbidden = refused(&node, path, &header).await;
        assert_eq!((forbidden.status, code(&forbidden)), (403, "forbidden".to_owned()), "{path}");
    }
    // Refused requests leave no connection behind.
    node.wait_for_metric("tidegate_connections", 0.).await;
    let rejected = r#"tidegate_rejected_total{reason="forbidden"}"#;
    assert!(node.metric(rejected).await >= 4.);
}

#[tokio::test]
async fn an_event_stream_ends_when_its_token_expires_and_a_new_one_gets_401() {
    let node = node_requiring_tokens(&["auth.leeway=0s"]).await;
    let token = token::token(2., json!({ "sub": "ada" }));
    let path = format!("/sse/lobby?token={token}");
    let mut stream = EventStream::open(&node, &path).await;
    assert_eq!(stream.try_event().await, None);
    assert_eq!(refused(&node, &path, "").await.status, 401);
}

#[tokio::test]
async fn a_disconnect_ends_the_users_event_streams() {
    let node = node_requiring_tokens(&[]).await;
    let path = format!("/sse/lobby?token={}", token::for_user("ada", &[]));
    let mut stream = EventStream::open(&node, &path).await;
    assert_eq!(node.post("/api/disconnect?user=ada", &[], b"").await.status, 202);
    assert_eq!(stream.try_event().await, None);
    assert_eq!(refused(&node, &path, "").await.status, 401);
}

#[tokio::test]
async fn cors_allows_event_streams_to_pages_of_allowed_origins_only() {
    let node = Node::standalone(&["server.origins=app.example"]).await;
    let allowed = "Origin: https://app.example\r\n";
    let mut raw = RawClient::connect(&node).await;
    let head = format!("GET /sse/news HTTP/1.1\r\nHost: localhost\r\n{allowed}\r\n");
    raw.send(head).await;
    let response = raw.response().await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(response.header("vary"), Some("origin"));
    // The page can read the error, too.
    let bad = refused(&node, "/sse/news?last_event_id=x", allowed).await;
    assert_eq!(
        (bad.status, bad.header("access-control-allow-origin")),
        (400, Some("https://app.example"))
    );
    let foreign = refused(&node, "/sse/news", "Origin: https://foreign.example\r\n").await;
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (403, None));

    let preflight = async |origin: &str| {
        let headers = [("Origin", origin), ("Access-Control-Request-Headers", "last-event-id")];
        request(node.public, "OPTIONS", "/sse/news", &headers, b"").await
    };
    let answer = preflight("https://app.example").await;
    assert_eq!(answer.status, 204);
    let headers = answer.header("access-control-allow-headers").expect("the allowed headers");
    assert!(headers.contains("last-event-id") && headers.contains("authorization"));
    assert_eq!(preflight("https://foreign.example").await.status, 403);
}

/// DNS rebinding: a page whose host name resolves to loopback sends no `Origin` with a same-origin GET.
#[tokio::test]
async fn on_loopback_an_event_stream_for_another_host_name_gets_403() {
    let node = Node::standalone(&[]).await;
    for (host, status) in [("localhost", 200), ("evil.example", 403)] {
        let mut raw = RawClient::connect(&node).await;
        raw.send(format!("GET /sse/news HTTP/1.1\r\nHost: {host}:8080\r\n\r\n")).await;
        assert_eq!(raw.response().await.status, status, "{host}");
    }
}

#[tokio::test]
async fn invalid_event_stream_requests_are_answered_with_an_error_that_names_the_fault() {
    let node = Node::standalone(&[]).await;
    let post = request(node.public, "POST", "/sse/news", &[], b"x").await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, OPTIONS")));
    let mut raw = RawClient::connect(&node).await;
    raw.send("HEAD /sse/news HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let head = raw.response_head().await;
    assert_eq!((head.status, head.header("allow")), (405, Some("GET, OPTIONS")));
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
async fn event_streams_count_against_the_connection_limits() {
    let node = node_requiring_tokens(&["limits.connections_per_user=1"]).await;
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
