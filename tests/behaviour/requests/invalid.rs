//! Requests that cannot be answered, and what their clients are told.

use serde_json::json;
use testkit::node::Node;
use testkit::raw::RawClient;
use testkit::requester::Requester;

use super::HISTORY;

#[tokio::test]
async fn an_invalid_request_is_told_what_is_wrong_and_what_is_allowed() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut requester = Requester::connect(&node).await;
    let long_key = "k".repeat(256);
    let long_query = format!("/poll/h:1?since={}", "9".repeat(8000));
    let none: &[(&str, &str)] = &[];
    for (method, path, headers, status, part) in [
        ("GET", "/publication/x", none, 404, "/publish/{channel}"),
        ("GET", "/wss", none, 404, "none of them: /wss"),
        ("GET", "/metrics", none, 404, "internal listener"),
        ("POST", "/api/publish/a", none, 404, "internal listener"),
        ("GET", "/polls", none, 404, "/poll/{channel}"),
        ("POST", "/publish", none, 404, "/publish/{channel}"),
        ("POST", "/publish/", none, 400, "1 to 255 bytes"),
        (
            "POST",
            "/publish/a",
            &[("Origin", "http://evil.example")],
            403,
            "server.origins: http://evil.example",
        ),
        ("POST", "/publish/a%20b", none, 400, "white space"),
        ("POST", "/publish/a%2", none, 400, "percent-encoding"),
        ("POST", "/publish/a", &[("Idempotency-Key", "")], 400, "1 to 255 bytes"),
        ("POST", "/publish/a", &[("Idempotency-Key", &long_key)], 400, "1 to 255 bytes"),
        ("GET", "/publish/a", none, 405, "POST, OPTIONS"),
        ("PUT", "/publish/a", none, 405, "POST, OPTIONS"),
        ("POST", "/history/h:1", none, 405, "GET, OPTIONS"),
        ("DELETE", "/poll/h:1", none, 405, "GET, OPTIONS"),
        ("GET", "/history/h:1?since=yesterday", none, 400, "since: a position is"),
        ("GET", "/history/h:1?limit=0", none, 400, "1 to 1000"),
        ("GET", "/history/h:1?limit=1001", none, 400, "1 to 1000"),
        ("GET", "/history/h:1?limit=ten", none, 400, "1 to 1000"),
        ("GET", "/history/news", none, 404, "keeps no history"),
        ("GET", "/presence/news", none, 404, "presence = true"),
        ("GET", "/poll/h:1?since=5", none, 400, "since is a position"),
        ("GET", "/poll/h:1?last=0", none, 400, "1 to 1000"),
        ("GET", "/poll/h:1?wait=25", none, 400, "0s to 60s"),
        ("GET", "/poll/h:1?wait=61s", none, 400, "0s to 60s"),
        ("GET", "/poll/h:1?wait=-1s", none, 400, "0s to 60s"),
        ("GET", &long_query, none, 400, "since is a position"),
        ("GET", "/poll/h:1?last=+5", none, 400, "1 to 1000"),
        ("GET", "/poll/h:1?since=first&since=1-1", none, 400, "give since once"),
        ("GET", "/poll/h:1?wait=1s&wait=2s", none, 400, "give wait once"),
        ("GET", "/history/h:1?limit=1&limit=2", none, 400, "give limit once"),
        (
            "POST",
            "/publish/h:1",
            &[("Idempotency-Key", "a"), ("Idempotency-Key", "b")],
            400,
            "once",
        ),
        ("GET", "/sse/h:1?last=1&last=2", none, 400, "give last once"),
        ("GET", "/sse?channel=h:1&since=first", none, 400, "/sse/{channel}"),
        ("GET", "/sse?channel=h:1&last=5", none, 400, "/sse/{channel}"),
    ] {
        let answer = requester.request(method, path, headers, b"").await;
        assert_eq!(answer.status, status, "{method} {path:.60}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let message = answer.json()["error"]["message"].as_str().expect("a message").to_owned();
        assert!(message.contains(part), "{method} {path:.60}: {message}");
        if status == 405 {
            assert_eq!(answer.header("allow"), Some(part), "{method} {path}");
        }
    }
    let head = testkit::http::request(node.public, "HEAD", "/history/h:1", &[], b"").await;
    assert_eq!((head.status, head.header("allow")), (405, Some("GET, OPTIONS")));
}

/// A proxy passes such a body on as a part of the request.
#[tokio::test]
async fn the_body_of_a_request_for_a_poll_or_a_stream_does_not_become_the_next_request() {
    let node = Node::standalone(&[HISTORY]).await;
    let hidden = "POST /publish/h:hidden HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
    let length = format!("Content-Length: {}", hidden.len());
    for path in ["/poll/h:1?wait=1s", "/sse/h:1", "/sse?channel=h:1"] {
        for framing in [length.as_str(), "Transfer-Encoding: chunked"] {
            let mut raw = RawClient::connect(&node).await;
            raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n")).await;
            let response = raw.response().await;
            assert_eq!(response.status, 400, "{path} {framing}: {response:?}");
            assert_eq!(response.header("connection"), Some("close"));
            // The node may have closed the connection.
            let _ = raw.try_send(hidden).await;
            assert_eq!(raw.read_to_end().await, b"", "{path} {framing}");
        }
    }
    let history = testkit::http::get(node.public, "/history/h:hidden").await;
    assert!(history.text().contains(r#""publications":[]"#), "{history:?}");
}

#[tokio::test]
async fn a_request_that_a_proxy_may_read_in_another_way_is_refused() {
    let node = Node::standalone(&[HISTORY]).await;
    let chunks = "\r\n1\r\nx\r\n0\r\n\r\n";
    for (lines, status) in [
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 501),
        ("Transfer-Encoding: chunked\r\nHost: elsewhere\r\n", 400),
        ("Transfer-Encoding: Chunked\r\n", 202),
    ] {
        let mut raw = RawClient::connect(&node).await;
        let head = "POST /publish/h:1 HTTP/1.1\r\nHost: localhost\r\n";
        raw.send(format!("{head}{lines}{chunks}")).await;
        assert_eq!(raw.response().await.status, status, "{lines}");
    }
    let mut raw = RawClient::connect(&node).await;
    raw.send("GET /history/h:1 HTTP/1.1\r\n\r\n").await;
    assert_eq!(raw.response().await.status, 400, "no Host");
}

#[tokio::test]
async fn a_client_that_ends_its_side_behind_its_request_gets_the_response() {
    let node = Node::standalone(&[HISTORY]).await;
    for (request, status) in [
        ("POST /publish/h:1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx", 202),
        ("GET /history/h:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    ] {
        let mut raw = RawClient::connect(&node).await;
        raw.send(request).await;
        raw.end_sending().await;
        assert_eq!(raw.response().await.status, status, "{request}");
        raw.expect_end().await;
    }
}

#[tokio::test]
async fn the_response_to_a_head_that_is_too_large_is_not_lost_behind_what_the_client_still_sends() {
    let node = Node::standalone(&[HISTORY]).await;
    for _ in 0..20 {
        let mut raw = RawClient::connect(&node).await;
        raw.send(format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(200_000))).await;
        assert_eq!(raw.response().await.status, 431);
        raw.expect_end().await;
    }
}

#[tokio::test]
async fn each_request_beyond_a_rate_is_told_the_limit() {
    let limits = ["limits.publications_per_second=1", "limits.commands_per_second=1"];
    let node = Node::standalone(&[&[HISTORY], &limits[..]].concat()).await;
    let mut requester = Requester::connect(&node).await;
    for (method, path, limit) in [
        ("POST", "/publish/h:1", "limits.publications_per_second = 1"),
        ("GET", "/history/h:1", "limits.commands_per_second = 1"),
        ("GET", "/poll/h:1?wait=0s", "limits.commands_per_second = 1"),
    ] {
        let mut refused = 0;
        while refused < 50 {
            let answer = requester.request(method, path, &[], b"").await;
            if answer.status != 429 {
                assert!(answer.status < 300, "{answer:?}");
                continue;
            }
            let error = &answer.json()["error"];
            assert_eq!(
                (&error["code"], answer.header("retry-after")),
                (&json!("rate_limited"), Some("1"))
            );
            assert!(error["message"].as_str().is_some_and(|it| it.contains(limit)), "{error}");
            refused += 1;
        }
    }
}
