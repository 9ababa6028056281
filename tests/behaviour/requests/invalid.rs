//! Requests that cannot be answered, and what their clients are told.

use testkit::node::Node;
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
        ("GET", "/polls", none, 404, "/poll/{channel}"),
        ("POST", "/publish", none, 404, "/publish/{channel}"),
        ("POST", "/publish/", none, 400, "1 to 255 bytes"),
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
        ("GET", "/presence/news", none, 404, "keeps no presence"),
        ("GET", "/poll/h:1?since=5", none, 400, "since is a position"),
        ("GET", "/poll/h:1?last=0", none, 400, "1 to 1000"),
        ("GET", "/poll/h:1?wait=25", none, 400, "0s to 60s"),
        ("GET", "/poll/h:1?wait=61s", none, 400, "0s to 60s"),
        ("GET", "/poll/h:1?wait=-1s", none, 400, "0s to 60s"),
        ("GET", &long_query, none, 400, "since is a position"),
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
