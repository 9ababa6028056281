//! The demo page.

use serde_json::{Value, json};
use testkit::http;
use testkit::node::Node;
use testkit::redis::Redis;

#[tokio::test]
async fn the_demo_page_is_served_on_loopback_and_loads_nothing_from_other_hosts() {
    let node = Node::standalone(&[]).await;
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
    for external in ["src=\"http", "href=\"http://", "@import"] {
        assert!(!text.contains(external), "the page loads {external}");
    }
}

#[tokio::test]
async fn the_demo_page_is_not_found_where_demo_is_off() {
    let node = Node::standalone(&["demo=false"]).await;
    assert_eq!(http::get(node.public, "/").await.status, 404);
}

/// The facts about its node that the page embeds.
async fn facts(node: &Node) -> Value {
    let page = http::get(node.public, "/").await.text();
    let (_, rest) = page.split_once("id=\"facts\">").expect("the page embeds the facts");
    serde_json::from_str(rest.split('<').next().expect("they end")).expect("they are JSON")
}

#[tokio::test]
async fn the_demo_page_embeds_how_to_publish_on_its_node() {
    let node = Node::standalone(&[]).await;
    let api = format!("http://{}/", node.internal);
    let expected = json!({"command": null, "prefix": "tidegate:", "api": api, "needs_key": false});
    assert_eq!(facts(&node).await, expected);
    let redis = Redis::start().await;
    let settings = ["broker.prefix=</script>:", "internal.api_key=0123456789abcdef"];
    let node = Node::on(&redis, &settings).await;
    let api = format!("http://{}/", node.internal);
    let expected = json!({
        "command": "PUBLISH", "prefix": "</script>:", "api": api, "needs_key": true,
    });
    assert_eq!(facts(&node).await, expected);
}

#[tokio::test]
async fn the_log_names_the_demo_pages_address_where_demo_is_on() {
    let node = Node::standalone(&[]).await;
    let url = format!("http://{}/", node.public);
    let logged =
        node.process.stderr().iter().any(|line| line.contains("demo page") && line.contains(&url));
    assert!(logged, "{:?}", node.process.stderr());
    let node = Node::standalone(&["demo=false"]).await;
    assert!(!node.process.stderr().iter().any(|line| line.contains("demo page")));
}
