//! Requests over HTTP/2 that the node refuses.

use h2::ext::Protocol;
use testkit::http2::Http2Client;
use testkit::node::Node;
use testkit::raw::{RawClient, text};
use testkit::soon;
use testkit::tls_client::TlsClient;

#[tokio::test]
async fn each_refused_request_of_http_2_gets_a_status_and_a_reason() {
    let node = Node::standalone(&[]).await;
    let mut http2 = Http2Client::connect(&node).await;
    for (method, path, status, part) in [
        ("GET", "/nothing", 404, "the paths are"),
        ("POST", "/sse/news", 405, "GET"),
        ("GET", "/ws/news", 405, "RFC 8441"),
        ("GET", "/sse/%", 400, "percent-encoding"),
        ("CONNECT", "/", 405, "GET"),
    ] {
        let request = http2.request(method, path);
        let request = match method {
            "CONNECT" => request.extension(Protocol::from_static("websocket")),
            _ => request,
        };
        let response = http2.answer(request.body(()).expect("a valid request"), b"").await;
        assert_eq!(response.status, status, "{method} {path}: {response:?}");
        let message = response.json()["error"]["message"].as_str().expect("a message").to_owned();
        assert!(message.contains(part), "{method} {path}: {message}");
        assert!(response.header("connection").is_none() && response.header("upgrade").is_none());
    }
    // The connection is still of use.
    assert_eq!(http2.websocket("/ws/news").await.response.status(), 200);
}

#[tokio::test]
async fn an_extended_connect_for_another_protocol_version_or_origin_is_refused() {
    let node = Node::standalone(&[]).await;
    let mut http2 = Http2Client::connect(&node).await;
    let refused = http2.try_websocket("/ws", &[("sec-websocket-version", "12")]).await;
    // Both are sent, so the first of them counts.
    assert!(refused.is_ok());
    let refused = http2.try_websocket("/ws", &[("origin", "https://evil.example")]).await;
    assert_eq!(refused.err().map(|response| response.status), Some(403));
    let offered = [("sec-websocket-protocol", "chat")];
    let refused = http2.try_websocket("/ws", &offered).await;
    assert_eq!(refused.err().map(|response| response.status), Some(400));
    for (protocol, version, status) in [("connect-udp", "13", 501), ("websocket", "8", 426)] {
        let request = http2
            .request("CONNECT", "/ws")
            .header("sec-websocket-version", version)
            .extension(Protocol::from_static(protocol))
            .body(())
            .expect("a valid request");
        let (response, _) = http2.try_open(request, false).await.expect("a response");
        assert_eq!(response.status, status, "{protocol} {version}: {response:?}");
    }
    assert_eq!(node.metric(r#"tidegate_rejected_total{reason="origin"}"#).await, 1.);
}

#[tokio::test]
async fn the_page_of_the_authority_may_connect_and_the_subprotocol_is_confirmed() {
    let node = Node::standalone(&[]).await;
    let mut http2 = Http2Client::connect(&node).await;
    let origin = format!("http://{}", node.public);
    let headers = [("origin", origin.as_str()), ("sec-websocket-protocol", "tidegate.v1.json")];
    let (response, _stream) = http2.try_websocket("/ws", &headers).await.expect("it is accepted");
    assert_eq!(response.header("sec-websocket-protocol"), Some("tidegate.v1.json"));
    assert_eq!(response.header("sec-websocket-accept"), None);
}

#[tokio::test]
async fn a_request_head_that_is_too_large_is_answered_431_and_the_connection_goes_on() {
    let node = Node::standalone(&[]).await;
    let mut http2 = Http2Client::connect(&node).await;
    let request = http2.request("GET", "/").header("x-large", "x".repeat(30 << 10));
    let response = http2.try_open(request.body(()).expect("a request"), true).await;
    assert_eq!(response.expect("a response").0.status, 431);
    assert_eq!(http2.get("/").await.status, 200);
}

#[tokio::test]
async fn a_node_with_http2_off_speaks_only_http_1_on_plain_tcp_and_tls() {
    let node = Node::standalone(&["server.http2=false"]).await;
    let mut raw = RawClient::connect(&node).await;
    raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    raw.expect_end().await;
    let authority = testkit::authority::Authority::create();
    let node = crate::tls::node(&authority, &["server.http2=false"]).await;
    let stream = TlsClient::new(&authority).with_alpn(&["h2", "http/1.1"]);
    let stream = stream.connect(node.public).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn a_websocket_violation_over_http_2_is_closed_with_its_code_and_the_stream_ends() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let node = Node::standalone(&[]).await;
    let mut http2 = Http2Client::connect(&node).await;
    let (_, mut stream) = http2.try_websocket("/ws/news", &[]).await.expect("it is accepted");
    // RFC 8441 keeps the masking of RFC 6455, so a frame without a mask is a violation.
    let mut unmasked = text("hello");
    unmasked[1] &= 0x7f;
    stream.write_all(&unmasked).await.expect("it is sent");
    let mut received = Vec::new();
    soon("the end", stream.read_to_end(&mut received)).await.expect("the stream ends");
    assert_eq!(received[0], 0x88, "a close frame: {received:?}");
    assert_eq!(&received[2..4], 1002u16.to_be_bytes());
    assert_eq!(http2.get("/sse/%").await.status, 400, "the connection goes on");
}
