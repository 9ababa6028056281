//! Flow control: a stream that its client does not read is bounded, and delays no other.

use h2::client::Builder;
use testkit::eventually;
use testkit::http2::{Http2Client, Reason};
use testkit::node::Node;

use super::SSE;

const SLOW: &str = r#"tidegate_slow_consumers_total{action="closed"}"#;

/// Far beyond what the queue and the windows hold.
const PUBLICATIONS_MAX: usize = 400;

#[tokio::test]
async fn a_stream_that_is_not_read_is_closed_as_slow_and_the_others_of_its_connection_go_on() {
    let node = Node::standalone(&["session.queue_bytes_max=64KiB"]).await;
    let mut builder = Builder::new();
    builder.initial_window_size(32 << 10).initial_connection_window_size(4 << 20);
    let mut http2 = Http2Client::with(&node, &builder).await;
    let mut stalled = http2.try_websocket("/ws/news", &[]).await.expect("it is accepted").1;
    let request = http2.request("GET", "/sse/news").body(()).expect("a request");
    let (_, mut stalled_events) = http2.try_open(request, true).await.expect("a response");
    let mut events = http2.event_stream("/sse/news").await;
    let mut socket = http2.websocket("/ws/news").await;
    node.wait_for_metric(SSE, 2.).await;
    let payload = |number: usize| format!("{number} {}", "x".repeat(16 << 10));
    let mut sent = 0;
    while node.metric(SLOW).await < 2. {
        socket.send(payload(sent)).await;
        assert_eq!(socket.receive_text().await, payload(sent));
        assert_eq!(events.event().await.data, payload(sent));
        sent += 1;
        assert!(sent < PUBLICATIONS_MAX, "the stalled streams were not closed");
    }
    // The frames queued for their windows are dropped, and no window delays the end.
    assert_eq!(stalled_events.reset_reason().await, Some(Reason::CANCEL));
    assert_eq!(stalled.reset_reason().await, Some(Reason::CANCEL));
    node.wait_for_metric("tidegate_connections", 2.).await;
    node.wait_for_metric("tidegate_outbound_queue_bytes", 0.).await;
    socket.send("after").await;
    assert_eq!(events.event().await.data, "after");
}

#[tokio::test]
async fn a_client_that_grants_no_window_at_all_is_closed_as_slow() {
    let node = Node::standalone(&["session.queue_bytes_max=64KiB"]).await;
    let mut builder = Builder::new();
    builder.initial_window_size(0);
    let mut http2 = Http2Client::with(&node, &builder).await;
    let request = http2.request("GET", "/sse/news").body(()).expect("a request");
    let (response, _stalled) = http2.try_open(request, true).await.expect("a response");
    assert_eq!(response.status, 200);
    let payload = "x".repeat(16 << 10);
    for _ in 0..10 {
        node.post("/api/publish/news", &[], payload.as_bytes()).await;
    }
    node.wait_for_metric(SLOW, 1.).await;
    node.wait_for_metric("tidegate_connections", 0.).await;
    node.wait_for_metric("tidegate_outbound_queue_bytes", 0.).await;
}

#[tokio::test]
async fn a_response_that_the_client_does_not_read_is_given_up_after_a_bounded_time() {
    let node = Node::standalone(&["demo=true", "server.handshake_timeout=200ms"]).await;
    let mut builder = Builder::new();
    builder.initial_window_size(1000);
    let mut http2 = Http2Client::with(&node, &builder).await;
    let request = http2.request("GET", "/").body(()).expect("a request");
    let (_, mut stalled) = http2.try_open(request, true).await.expect("a response");
    assert_eq!(stalled.reset_reason().await, Some(Reason::CANCEL));
    let events = http2.event_stream("/sse/news").await;
    eventually("the session", async || (node.metric(SSE).await == 1.).then_some(())).await;
    drop(events);
}
