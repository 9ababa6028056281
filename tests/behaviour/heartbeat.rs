//! Pings find out who is still there.

use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::raw::{FIN, PING, PONG, RawClient, frame, text};

const OFTEN: &str = "session.ping_interval=200ms";

/// The next ping, and what it carries.
async fn ping(raw: &mut RawClient) -> Vec<u8> {
    let frame = raw.frame().await;
    assert_eq!(frame.first, FIN | PING, "{frame:?}");
    frame.payload
}

#[tokio::test]
async fn pongs_keep_a_connection_alive_and_are_measured() {
    let node = Node::standalone(&[OFTEN, "session.pong_timeout=2s"]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    // Longer than the timeout together.
    for _ in 0..15 {
        let payload = ping(&mut raw).await;
        raw.send(frame(FIN | PONG, &payload)).await;
    }
    node.wait_for_metric("tidegate_connections", 1.).await;
    assert!(node.metric("tidegate_ping_rtt_seconds_count").await >= 10.);
}

#[tokio::test]
async fn any_frame_counts_as_life() {
    let node = Node::standalone(&[OFTEN, "session.pong_timeout=2s"]).await;
    let mut raw = RawClient::open(&node, "/ws/news?echo=false").await;
    for _ in 0..15 {
        ping(&mut raw).await;
        raw.send(text("no pong, but alive")).await;
    }
    node.wait_for_metric("tidegate_connections", 1.).await;
    assert_eq!(node.metric("tidegate_ping_rtt_seconds_count").await, 0.);
}

#[tokio::test]
async fn silence_is_closed_with_4009() {
    let node = Node::standalone(&[OFTEN, "session.pong_timeout=300ms"]).await;
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
async fn a_library_that_answers_pings_stays_for_long() {
    let node = Node::standalone(&["session.ping_interval=100ms", "session.pong_timeout=2s"]).await;
    let mut client = Client::plain(&node, "news").await;
    let mut listening = tokio::spawn(async move { client.receive_text().await });
    let answered = async || {
        let seen = node.metric("tidegate_ping_rtt_seconds_count").await;
        (seen >= 25. || listening.is_finished()).then_some(())
    };
    eventually("25 pongs", answered).await;
    node.post("/api/publish/news", &[], b"still here?").await;
    assert_eq!((&mut listening).await.expect("it stays"), "still here?");
}
