//! HTTP/2 over TLS, client certificates included.

use testkit::authority::Authority;
use testkit::http2::Http2Client;
use testkit::tls_client::TlsClient;

use super::{PLAIN, SSE};
use crate::tls;

#[tokio::test]
async fn sessions_over_tls_and_http_2_receive_publications() {
    let authority = Authority::create();
    let clients = Authority::create();
    let client_ca = format!("server.tls.client_ca={}", clients.certificate_file().display());
    let node = tls::node(&authority, &[&client_ca]).await;
    let trusting = TlsClient::new(&authority).with_certificate(clients.issue("client"));
    let mut http2 = Http2Client::over_tls(&node, trusting).await;
    let mut socket = http2.websocket("/ws/news").await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(http2.event_stream("/sse/news").await);
    }
    assert_eq!((node.metric(PLAIN).await, node.metric(SSE).await), (1., 20.));
    socket.send("over TLS").await;
    assert_eq!(socket.receive_text().await, "over TLS");
    for stream in &mut streams {
        assert_eq!(stream.event().await.data, "over TLS");
    }
    assert_eq!(node.metric("tidegate_http2_connections").await, 1.);
}

#[tokio::test]
async fn a_page_of_the_authority_may_connect_over_tls() {
    let authority = Authority::create();
    let node = tls::node(&authority, &[]).await;
    let mut http2 = Http2Client::over_tls(&node, TlsClient::new(&authority)).await;
    let origin = format!("https://localhost:{}", node.public.port());
    let opened = http2.try_websocket("/ws", &[("origin", &origin)]).await;
    assert!(opened.is_ok());
    let opened = http2.try_websocket("/ws", &[("origin", "https://evil.example")]).await;
    assert_eq!(opened.err().map(|response| response.status), Some(403));
}

#[tokio::test]
async fn a_refused_connection_of_http_2_over_tls_gets_the_refusal_as_a_response() {
    let authority = Authority::create();
    let node = tls::node(&authority, &["limits.connections_max=1"]).await;
    let mut first = Http2Client::over_tls(&node, TlsClient::new(&authority)).await;
    assert_eq!(first.get("/nothing").await.status, 404);
    let mut refused = Http2Client::over_tls(&node, TlsClient::new(&authority)).await;
    let response = refused.get("/sse/news").await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("5")));
    // In which order the client sees GOAWAY and the end of the socket does not matter.
    let _ = refused.ended().await;
}
