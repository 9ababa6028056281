//! Pings find connections whose client is gone.

use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::raw::{FIN, PING, PONG, RawClient, frame, text};

const PING_EVERY_200_MS: &str = "session.ping_interval=200ms";

/// Asserts that the next frame is a ping, and returns its payload.
async fn ping(raw: &mut RawClient) -> Vec<u8> {
    let frame = raw.frame().await;
    assert_eq!(frame.first, FIN | PING, "{frame:?}");
    frame.payload
}

#[tokio::test]
async fn pongs_keep_a_connection_open_and_their_round_trip_is_measured() {
    let node = Node::standalone(&[PING_EVERY_200_MS, "session.pong_timeout=2s"]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    // Together longer than the timeout.
    for _ in 0..15 {
        let payload = ping(&mut raw).await;
        raw.send(frame(FIN | PONG, &payload)).await;
    }
    node.wait_for_metric("tidegate_connections", 1.).await;
    assert!(node.metric("tidegate_ping_rtt_seconds_count").await >= 10.);
}

#[tokio::test]
async fn any_frame_from_the_client_keeps_a_connection_open() {
    let node = Node::standalone(&[PING_EVERY_200_MS, "session.pong_timeout=2s"]).await;
    let mut raw = RawClient::open(&node, "/ws/news?echo=false").await;
    for _ in 0..15 {
        ping(&mut raw).await;
        raw.send(text("no pong, but alive")).await;
    }
    node.wait_for_metric("tidegate_connections", 1.).await;
    assert_eq!(node.metric("tidegate_ping_rtt_seconds_count").await, 0.);
}

#[tokio::test]
async fn a_connection_that_sends_nothing_after_a_ping_is_closed_with_4009() {
    let node = Node::standalone(&[PING_EVERY_200_MS, "session.pong_timeout=300ms"]).await;
    for path in ["/ws/news", "/ws"] {
        let mut raw = RawClient::open(&node, path).await;
        let mut frame = raw.frame().await;
        while frame.first != FIN | PING {
            frame = raw.frame().await;
        }
        raw.expect_close(4009).await;
    }
    let closed = r#"tidegate_connections_closed_total{reason="pong_timeout"}"#;
    node.wait_for_metric(closed, 2.).await;
}

#[tokio::test]
async fn a_client_library_that_answers_pings_stays_connected() {
    let node = Node::standalone(&["session.ping_interval=100ms", "session.pong_timeout=2s"]).await;
    let mut client = Client::plain(&node, "news").await;
    let mut receiving = tokio::spawn(async move { client.receive_text().await });
    let are_measured = async || {
        let count = node.metric("tidegate_ping_rtt_seconds_count").await;
        (count >= 25. || receiving.is_finished()).then_some(())
    };
    eventually("25 pongs", are_measured).await;
    node.post("/api/publish/news", &[], b"after 25 pings").await;
    assert_eq!((&mut receiving).await.expect("the client stays connected"), "after 25 pings");
}
