//! The origins from which a node accepts upgrades.

use testkit::node::Node;
use testkit::raw::upgrade;

use super::{answer, assert_refused};

async fn status(node: &Node, origin: &str) -> u16 {
    let request = upgrade("/ws/news", &format!("Origin: {origin}\r\n"));
    let response = answer(node, request).await;
    if response.status != 101 {
        assert_refused(&response, 403);
    }
    response.status
}

/// A node on all addresses, which other hosts can reach by a name.
async fn reachable(settings: &[&str]) -> Node {
    let open = ["server.listen=0.0.0.0:0", "auth.mode=none"];
    Node::standalone(&[&open[..], settings].concat()).await
}

#[tokio::test]
async fn origins_of_the_same_host_and_port_are_accepted_and_foreign_origins_get_403() {
    let node = reachable(&[]).await;
    for own in ["http://gateway", "https://gateway", "http://GATEWAY:80", "https://gateway:443"] {
        assert_eq!(status(&node, own).await, 101, "{own}");
    }
    for foreign in [
        "https://evil.example",
        "https://gateway.evil.example",
        "https://notgateway",
        "http://gateway:3000",
        "https://gateway:8443",
        "null",
    ] {
        assert_eq!(status(&node, foreign).await, 403, "{foreign}");
    }
    let rejected = r#"tidegate_rejected_total{reason="origin"}"#;
    assert_eq!(node.metric(rejected).await, 6.);
}

/// DNS rebinding: a page's own host name may resolve to the visitor's loopback address, and then its origin equals the
/// Host header.
#[tokio::test]
async fn on_loopback_origins_of_loopback_hosts_are_accepted_and_other_names_get_403() {
    let node = Node::standalone(&[]).await;
    for own in
        ["http://localhost:3000", "http://127.0.0.1:5173", "https://[::1]", "http://localhost"]
    {
        assert_eq!(status(&node, own).await, 101, "{own}");
    }
    for foreign in ["http://gateway", "http://evil.example", "http://localhost.evil.example"] {
        let rebound = foreign.trim_start_matches("http://");
        let request = upgrade("/ws/news", &format!("Origin: {foreign}\r\n"))
            .replace("Host: gateway", &format!("Host: {rebound}"));
        assert_refused(&answer(&node, request).await, 403);
    }
}

#[tokio::test]
async fn origins_listed_in_server_origins_are_accepted_and_others_get_403() {
    let listed = "server.origins=https://app.example,*.friends.example";
    for node in [Node::standalone(&[listed]).await, reachable(&[listed]).await] {
        for (origin, answered) in [
            ("https://app.example", 101),
            ("http://app.example", 403),
            ("https://one.friends.example", 101),
            ("https://friends.example.evil.example", 403),
            ("https://evil.example", 403),
        ] {
            assert_eq!(status(&node, origin).await, answered, "{origin}");
        }
    }
}

#[tokio::test]
async fn every_origin_is_accepted_where_server_origins_is_an_asterisk() {
    let node = Node::standalone(&["server.origins=*"]).await;
    for origin in ["https://evil.example", "null"] {
        assert_eq!(status(&node, origin).await, 101);
    }
}

#[tokio::test]
async fn an_upgrade_without_an_origin_is_accepted() {
    let node = Node::standalone(&[]).await;
    assert_eq!(answer(&node, upgrade("/ws/news", "")).await.status, 101);
}
