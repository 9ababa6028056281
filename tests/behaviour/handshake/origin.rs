//! Which pages may connect.

use super::{answer, assert_refused};
use crate::support::node::Node;
use crate::support::raw::upgrade;

async fn status(node: &Node, origin: &str) -> u16 {
    let request = upgrade("/ws/news", &format!("Origin: {origin}\r\n"));
    let response = answer(node, request).await;
    if response.status != 101 {
        assert_refused(&response, 403);
    }
    response.status
}

#[tokio::test]
async fn those_of_the_same_host_may_and_foreign_ones_may_not() {
    let node = Node::alone(&[]).await;
    for own in ["http://gateway", "https://gateway", "http://GATEWAY:3000"] {
        assert_eq!(status(&node, own).await, 101, "{own}");
    }
    for foreign in
        ["https://evil.example", "https://gateway.evil.example", "https://notgateway", "null"]
    {
        assert_eq!(status(&node, foreign).await, 403, "{foreign}");
    }
    let rejected = r#"tidegate_rejected_total{reason="origin"}"#;
    assert_eq!(node.metric(rejected).await, 4.);
}

#[tokio::test]
async fn listed_ones_may() {
    let listed = "server.origins=https://app.example,*.friends.example";
    let node = Node::alone(&[listed]).await;
    for (origin, answered) in [
        ("https://app.example", 101),
        ("http://app.example", 403),
        ("https://one.friends.example", 101),
        ("https://friends.example.evil.example", 403),
        ("http://gateway", 101),
        ("https://evil.example", 403),
    ] {
        assert_eq!(status(&node, origin).await, answered, "{origin}");
    }
}

#[tokio::test]
async fn any_may_where_it_is_written_out() {
    let node = Node::alone(&["server.origins=*"]).await;
    for origin in ["https://evil.example", "null"] {
        assert_eq!(status(&node, origin).await, 101);
    }
}

#[tokio::test]
async fn a_client_that_is_no_page_is_not_asked() {
    let node = Node::alone(&[]).await;
    assert_eq!(answer(&node, upgrade("/ws/news", "")).await.status, 101);
}
