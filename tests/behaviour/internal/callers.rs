//! Web pages have no business at the internal listener, whatever their visitor can reach.

use testkit::http;
use testkit::node::Node;
use tokio::io::AsyncWriteExt;

const PAGE: (&str, &str) = ("Origin", "https://elsewhere.example");
const REFUSED: &str = r#"tidegate_rejected_total{reason="origin"}"#;

#[tokio::test]
async fn no_page_stops_a_node_or_publishes() {
    let node = Node::standalone(&[]).await;
    let cross_site = ("Sec-Fetch-Site", "cross-site");
    let asked = ["/api/drain", "/api/publish/news", "/api/disconnect?user=u", "/api/channels"];
    for path in asked {
        for header in [PAGE, cross_site] {
            let answer = node.post(path, &[header], b"").await;
            assert_eq!(answer.status, 403, "{path} with {header:?}");
            assert_eq!(answer.json()["error"]["code"], "forbidden");
        }
    }
    assert_eq!(node.metric(REFUSED).await, 2. * asked.len() as f64);
    assert!(node.is_ready().await);
    assert_eq!(node.post("/api/publish/news", &[], b"mine").await.status, 202);
}

#[tokio::test]
async fn nor_does_one_whose_name_points_to_loopback() {
    let node = Node::standalone(&[]).await;
    let status = async |host: &str| {
        let mut stream = http::connect(node.internal).await;
        let request = format!("GET /api/channels HTTP/1.1\r\nHost: {host}:9090\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("the request goes out");
        http::response(&mut stream, &mut Vec::new()).await.status
    };
    assert_eq!(status("rebound.example").await, 403);
    assert_eq!(status("localhost").await, 200);
    assert_eq!(status("127.0.0.1").await, 200);
}

#[tokio::test]
async fn whoever_carries_the_key_may_be_a_page() {
    let node = Node::standalone(&["internal.api_key=key"]).await;
    let publish = async |headers: &[(&str, &str)]| {
        node.post("/api/publish/news", headers, b"mine").await.status
    };
    assert_eq!(publish(&[PAGE, ("Authorization", "Bearer key")]).await, 202);
    assert_eq!(publish(&[PAGE]).await, 401);
}
