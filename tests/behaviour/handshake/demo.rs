//! The demo pages.

use std::net::SocketAddr;

use serde_json::{Value, json};
use testkit::http;
use testkit::node::Node;
use testkit::redis::Redis;
use tokio::net::TcpStream;

/// The paths that a page's attributes name.
fn named_paths(page: &str) -> Vec<String> {
    let values =
        ["href=\"", "src=\""].into_iter().flat_map(|attribute| page.split(attribute).skip(1));
    values.map(|rest| rest.split('"').next().expect("a value ends").to_owned()).collect()
}

#[tokio::test]
async fn the_demo_pages_are_served_on_loopback_and_load_nothing_from_other_hosts() {
    let node = Node::standalone(&[]).await;
    let (mut waiting, mut seen) = (vec!["/".to_owned()], vec![]);
    while let Some(path) = waiting.pop() {
        let file = http::get(node.public, &path).await;
        assert_eq!(file.status, 200, "{path}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(file.header("cache-control"), Some("no-cache"), "{path}");
        let policy = file.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let head = http::request(node.public, "HEAD", &path, &[], b"").await;
        assert_eq!((head.status, head.header("content-type")), (200, file.header("content-type")));
        if file.header("content-type") == Some("text/html; charset=utf-8") {
            for named in named_paths(&file.text()) {
                assert!(named.starts_with('/'), "{path} loads {named}");
                let is_new = !seen.contains(&named) && !waiting.contains(&named);
                waiting.extend(is_new.then_some(named));
            }
        }
        seen.push(path);
    }
    assert!(seen.iter().any(|path| path == "/demo/chat"), "{seen:?}");
}

#[tokio::test]
async fn a_demo_file_that_the_browser_has_is_not_sent_again() {
    let node = Node::standalone(&[]).await;
    let first = http::get(node.public, "/demo/demo.css").await;
    let etag = first.header("etag").expect("an entity tag");
    let again =
        http::request(node.public, "GET", "/demo/demo.css", &[("if-none-match", etag)], b"").await;
    assert_eq!((again.status, again.text().as_str()), (304, ""));
}

#[tokio::test]
async fn the_index_of_the_demo_has_three_paths() {
    let node = Node::standalone(&[]).await;
    let index = http::get(node.public, "/").await;
    for path in ["/demo", "/demo/"] {
        let same = http::get(node.public, path).await;
        assert_eq!((same.status, same.text()), (200, index.text()), "{path}");
    }
}

#[tokio::test]
async fn other_paths_and_methods_of_the_demo_are_refused() {
    let node = Node::standalone(&[]).await;
    for path in ["/demo/nothing", "/demo/../demo/chat", "/demo.html"] {
        assert_eq!(http::get(node.public, path).await.status, 404, "{path}");
    }
    let posted = http::request(node.public, "POST", "/demo/chat", &[], b"").await;
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
}

#[tokio::test]
async fn the_demo_pages_are_not_found_where_demo_is_off() {
    let node = Node::standalone(&["demo=false"]).await;
    for path in ["/", "/demo/chat", "/demo/facts.json"] {
        assert_eq!(http::get(node.public, path).await.status, 404, "{path}");
    }
}

/// How to publish on the node, as its pages learn it.
async fn facts(node: &Node) -> Value {
    let facts = http::get(node.public, "/demo/facts.json").await;
    assert_eq!(facts.header("content-type"), Some("application/json"));
    serde_json::from_str(&facts.text()).expect("they are JSON")
}

#[tokio::test]
async fn the_demo_pages_learn_how_to_publish_on_their_node() {
    let node = Node::standalone(&[]).await;
    let api = format!("http://{}/", node.internal);
    let expected = json!({
        "command": null, "prefix": "tidegate:", "api": api, "needs_key": false, "mqtt": null,
    });
    assert_eq!(facts(&node).await, expected);
    let redis = Redis::start().await;
    let settings = ["broker.prefix=</script>:", "internal.api_key=0123456789abcdef"];
    let node = Node::on(&redis, &settings).await;
    let api = format!("http://{}/", node.internal);
    let expected = json!({
        "command": "PUBLISH", "prefix": "</script>:", "api": api, "needs_key": true, "mqtt": null,
    });
    assert_eq!(facts(&node).await, expected);
}

#[tokio::test]
async fn the_demo_pages_learn_the_address_for_mqtt_over_tcp() {
    let node = Node::standalone(&["mqtt.listen=0.0.0.0:0", "auth.mode=none"]).await;
    let facts = facts(&node).await;
    let url = facts["mqtt"].as_str().expect("an address");
    let address = url.strip_prefix("mqtt://").and_then(|it| it.strip_suffix('/'));
    let address = address.expect("an address of MQTT").parse::<SocketAddr>().expect("a socket's");
    assert!(address.ip().is_loopback(), "{url}");
    TcpStream::connect(address).await.expect("it listens");
}

#[tokio::test]
async fn the_log_names_the_demo_pages_address_where_demo_is_on() {
    let node = Node::standalone(&[]).await;
    let url = format!("http://{}/", node.public);
    node.process.wait_for_stderr(&["demo pages", &url]).await;
    let node = Node::standalone(&["demo=false"]).await;
    assert!(!node.process.stderr().iter().any(|line| line.contains("demo pages")));
}

/// The answer of `/api/explain` on a node with these settings.
async fn explained(settings: &[&str], channel: &str) -> String {
    let node = Node::standalone(settings).await;
    node.get(&format!("/api/explain?channel={channel}")).await.text()
}

#[tokio::test]
async fn without_rules_a_node_with_demo_and_memory_broker_has_built_in_rules_for_the_demo_channels()
{
    let kept = explained(&[], "demo:chat:harbour").await;
    for line in ["rules[2] \"demo:**\", built in for the demo pages", "500 publications", "is kept"]
    {
        assert!(kept.contains(line), "{kept}");
    }
    let live = explained(&[], "demo:live:ticker").await;
    assert!(live.contains("only the latest") && live.contains("history    none"), "{live}");
    let other = explained(&[], "chat:1").await;
    assert!(other.contains("none matches\n") && other.contains("subscribe  yes: "), "{other}");
    assert!(other.contains("history    none") && other.contains("publish    yes: "), "{other}");
}

#[tokio::test]
async fn the_built_in_demo_rules_do_not_exist_beside_rules_of_the_configuration_or_without_the_demo()
 {
    let configured = r#"rules=[{ pattern = "chat:*" }]"#;
    for settings in [["demo=false"].as_slice(), &[configured], &["rules=[]"]] {
        let text = explained(settings, "demo:chat:harbour").await;
        assert!(text.contains("history    none is kept"), "{settings:?}: {text}");
    }
}
