//! Requests that are no upgrades or invalid ones.

use testkit::http;
use testkit::node::Node;
use testkit::raw::{RawClient, upgrade};

use super::{answer, assert_refused};

#[tokio::test]
async fn unknown_paths_are_answered_with_404() {
    let node = Node::standalone(&[]).await;
    for path in
        ["/nothing", "/wsx", "/wsx/news", "/ws%2Fnews", "/metrics", "/readyz", "/api/channels"]
    {
        assert_refused(&http::get(node.public, path).await, 404);
        assert_refused(&answer(&node, upgrade(path, "")).await, 404);
    }
}

#[tokio::test]
async fn other_methods_are_answered_with_405_and_the_allowed_methods() {
    let node = Node::standalone(&[]).await;
    for path in ["/ws", "/ws/news"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let response = http::request(node.public, method, path, &[], b"").await;
            assert_refused(&response, 405);
            assert_eq!(response.header("allow"), Some("GET"));
        }
    }
    let response = http::request(node.public, "POST", "/", &[], b"").await;
    assert_refused(&response, 405);
    assert_eq!(response.header("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn requests_without_upgrade_headers_are_answered_with_426_and_the_protocol() {
    let node = Node::standalone(&[]).await;
    for request in [
        "GET /ws/news HTTP/1.1\r\nHost: gateway\r\n\r\n".to_owned(),
        upgrade("/ws/news", "").replace("Upgrade: websocket\r\n", ""),
        upgrade("/ws/news", "").replace("Connection: Upgrade\r\n", ""),
        upgrade("/ws/news", "").replace("Upgrade: websocket", "Upgrade: h2c"),
        upgrade("/ws/news", "").replace("HTTP/1.1", "HTTP/1.0"),
    ] {
        let response = answer(&node, &request).await;
        assert_refused(&response, 426);
        let offered = response.header("upgrade").map(str::to_lowercase);
        assert_eq!(offered.as_deref(), Some("websocket"), "{request}");
    }
}

#[tokio::test]
async fn other_websocket_versions_are_answered_with_426_and_version_13() {
    let node = Node::standalone(&[]).await;
    let version = "Sec-WebSocket-Version: 13\r\n";
    for other in ["Sec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version: 14\r\n", ""] {
        let response = answer(&node, upgrade("/ws/news", "").replace(version, other)).await;
        assert_refused(&response, 426);
        assert_eq!(response.header("sec-websocket-version"), Some("13"));
    }
}

#[tokio::test]
async fn invalid_websocket_keys_are_answered_with_400() {
    let node = Node::standalone(&[]).await;
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for bad in [
        "",
        "Sec-WebSocket-Key:\r\n",
        "Sec-WebSocket-Key: short\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE=\r\n",
    ] {
        assert_refused(&answer(&node, upgrade("/ws/news", "").replace(key, bad)).await, 400);
    }
}

#[tokio::test]
async fn invalid_channel_names_are_answered_with_400() {
    let node = Node::standalone(&[]).await;
    let long = format!("/ws/{}", "x".repeat(256));
    for path in ["/ws/", "/ws/a%20b", "/ws/a%00b", "/ws/a%0Ab", "/ws/%FF", "/ws/%C2%A0", &long] {
        assert_refused(&answer(&node, upgrade(path, "")).await, 400);
    }
}

#[tokio::test]
async fn unsupported_subprotocols_are_answered_with_400() {
    let node = Node::standalone(&[]).await;
    for list in ["unheard.of", "tidegate.v2.json", "a, b", "bearer.abc"] {
        let more = format!("Sec-WebSocket-Protocol: {list}\r\n");
        assert_refused(&answer(&node, upgrade("/ws", &more)).await, 400);
        assert_refused(&answer(&node, upgrade("/ws/news", &more)).await, 400);
    }
    let other = "Sec-WebSocket-Protocol: tidegate.v1.json\r\n";
    assert_refused(&answer(&node, upgrade("/ws/news", other)).await, 400);
}

#[tokio::test]
async fn a_request_with_240_header_lines_is_accepted_and_with_260_answered_with_431() {
    let node = Node::standalone(&[]).await;
    let lines = |count: usize| upgrade("/ws/news", &"X-A: b\r\n".repeat(count));
    assert_eq!(answer(&node, lines(240)).await.status, 101);
    assert_eq!(answer(&node, lines(260)).await.status, 431);
}

#[tokio::test]
async fn requests_whose_headers_are_too_long_are_answered_with_431_or_cut_off() {
    let node = Node::standalone(&["server.handshake_timeout=10m"]).await;
    let padding = format!("X-Padding: {}\r\n", "x".repeat(1000));
    for head in [padding.repeat(1000), "x".repeat(1_000_000), "a:\r\n".repeat(10_000)] {
        let mut raw = RawClient::connect(&node).await;
        raw.send("GET /ws/news HTTP/1.1\r\nHost: gateway\r\n").await;
        // The node may cut the connection off while this is being sent.
        let _ = raw.try_send(&head).await;
        let answer = raw.read_to_end().await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{answer:?}");
    }
    assert_eq!(
        http::get(node.public, "/").await.status,
        200,
        "the node no longer serves other clients"
    );
}

#[tokio::test]
async fn bytes_that_are_no_http_are_answered_with_an_error_or_cut_off() {
    let node = Node::standalone(&[]).await;
    for bytes in
        ["\x16\x03\x01\x02\x00\x01\x00\x01\u{1}", "hello\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"]
    {
        let mut raw = RawClient::connect(&node).await;
        raw.send(bytes).await;
        let answer = raw.read_to_end().await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    }
}
