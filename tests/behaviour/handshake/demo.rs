//! The demo page.

use crate::support::http;
use crate::support::node::Node;

#[tokio::test]
async fn is_served_on_loopback_and_trusts_nothing_from_elsewhere() {
    let node = Node::alone(&[]).await;
    let page = http::get(node.public, "/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let head = http::request(node.public, "HEAD", "/", &[], b"").await;
    assert_eq!((head.status, head.header("content-type")), (200, page.header("content-type")));
    let text = page.text();
    assert!(text.to_lowercase().starts_with("<!doctype html>"));
    for elsewhere in ["src=\"http", "href=\"http://", "@import"] {
        assert!(!text.contains(elsewhere), "the page loads {elsewhere}");
    }
}

#[tokio::test]
async fn is_not_there_where_it_is_off() {
    let node = Node::alone(&["demo=false"]).await;
    assert_eq!(http::get(node.public, "/").await.status, 404);
}
