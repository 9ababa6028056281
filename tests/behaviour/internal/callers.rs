//! The internal listener refuses requests of web pages, which may reach it through their visitor's browser.

use testkit::http;
use testkit::node::Node;
use tokio::io::AsyncWriteExt;

const PAGE: (&str, &str) = ("Origin", "https://elsewhere.example");
const REFUSED: &str = r#"tidegate_rejected_total{reason="origin"}"#;

#[tokio::test]
async fn requests_of_web_pages_to_the_api_get_403() {
    let node = Node::standalone(&[]).await;
    let cross_site = ("Sec-Fetch-Site", "cross-site");
    let paths = ["/api/drain", "/api/publish/news", "/api/disconnect?user=u", "/api/channels"];
    for path in paths {
        for header in [PAGE, cross_site] {
            let answer = node.post(path, &[header], b"").await;
            assert_eq!(answer.status, 403, "{path} with {header:?}");
            assert_eq!(answer.json()["error"]["code"], "forbidden");
        }
    }
    assert_eq!(node.metric(REFUSED).await, 2. * paths.len() as f64);
    assert!(node.is_ready().await);
    assert_eq!(node.post("/api/publish/news", &[], b"mine").await.status, 202);
}

#[tokio::test]
async fn a_request_whose_host_is_another_name_for_loopback_gets_403() {
    let node = Node::standalone(&[]).await;
    let status = async |host: &str| {
        let mut stream = http::connect(node.internal).await;
        let request = format!("GET /api/channels HTTP/1.1\r\nHost: {host}:9090\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("the request is sent");
        http::response(&mut stream, &mut Vec::new()).await.status
    };
    assert_eq!(status("rebound.example").await, 403);
    assert_eq!(status("localhost").await, 200);
    assert_eq!(status("127.0.0.1").await, 200);
}

#[tokio::test]
async fn a_web_pages_request_with_the_api_key_is_accepted() {
    let node = Node::standalone(&["internal.api_key=key"]).await;
    let publish = async |headers: &[(&str, &str)]| {
        node.post("/api/publish/news", headers, b"mine").await.status
    };
    assert_eq!(publish(&[PAGE, ("Authorization", "Bearer key")]).await, 202);
    assert_eq!(publish(&[PAGE]).await, 401);
}
