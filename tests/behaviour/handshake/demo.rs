//! The demo page.

use serde_json::{Value, json};
use testkit::http;
use testkit::node::Node;
use testkit::redis::Redis;

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

/// What the page knows of its node.
async fn facts(node: &Node) -> Value {
    let page = http::get(node.public, "/").await.text();
    let (_, rest) = page.split_once("id=\"facts\">").expect("the facts stand in the page");
    serde_json::from_str(rest.split('<').next().expect("they end")).expect("they are JSON")
}

#[tokio::test]
async fn says_how_to_publish_on_this_very_node() {
    let node = Node::alone(&[]).await;
    let api = format!("http://{}/", node.internal);
    let due = json!({"command": null, "prefix": "tidegate:", "api": api, "needs_key": false});
    assert_eq!(facts(&node).await, due);
    let redis = Redis::start().await;
    let settings = ["broker.prefix=</script>:", "internal.api_key=0123456789abcdef"];
    let node = Node::on(&redis, &settings).await;
    let api = format!("http://{}/", node.internal);
    let due = json!({
        "command": "PUBLISH", "prefix": "</script>:", "api": api, "needs_key": true,
    });
    assert_eq!(facts(&node).await, due);
}

#[tokio::test]
async fn has_an_address_that_the_log_names() {
    let node = Node::alone(&[]).await;
    let url = format!("http://{}/", node.public);
    let told =
        node.process.stderr().iter().any(|line| line.contains("demo page") && line.contains(&url));
    assert!(told, "{:?}", node.process.stderr());
    let node = Node::alone(&["demo=false"]).await;
    assert!(!node.process.stderr().iter().any(|line| line.contains("demo page")));
}
