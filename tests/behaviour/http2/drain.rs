//! A drain: GOAWAY first, then the sessions end over the period.

use std::time::Duration;

use testkit::http2::Http2Client;
use testkit::node::Node;
use testkit::process::Signal;
use tokio::time::Instant;

use super::{PLAIN, SSE};

const SESSIONS: usize = 20;

#[tokio::test]
async fn a_drain_ends_the_sessions_of_a_connection_over_the_period_and_then_the_connection() {
    let mut node = Node::standalone(&["drain.delay=0s", "drain.period=1s"]).await;
    let mut http2 = Http2Client::connect(&node).await;
    let mut closing = Vec::new();
    for _ in 0..SESSIONS {
        let mut socket = http2.websocket("/ws/news").await;
        let mut events = http2.event_stream("/sse/news").await;
        closing.push(tokio::spawn(async move {
            assert_eq!(u16::from(socket.receive_close().await.code), 1012);
            Instant::now()
        }));
        closing.push(tokio::spawn(async move {
            assert_eq!(events.event().await.name, "reconnect");
            assert_eq!(events.try_event().await, None, "the stream ends, and is not reset");
            Instant::now()
        }));
    }
    node.signal(Signal::TERM);
    let mut times = Vec::new();
    for closed in closing {
        times.push(closed.await.expect("each session is closed properly"));
    }
    times.sort();
    let spread = times[2 * SESSIONS - 1] - times[0];
    assert!(spread >= Duration::from_millis(500), "all were closed within {spread:?}");
    http2.ended().await.expect("no error");
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn an_idle_connection_ends_when_a_drain_begins() {
    let mut node = Node::standalone(&["drain.delay=0s", "drain.period=100ms"]).await;
    let mut idle = Http2Client::connect(&node).await;
    assert_eq!(idle.get("/nothing").await.status, 404);
    node.signal(Signal::TERM);
    idle.ended().await.expect("no error");
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_client_that_is_told_to_reconnect_elsewhere_gets_goaway_and_its_other_sessions_stay() {
    let node = Node::standalone(&["drain.period=100ms"]).await;
    let mut http2 = Http2Client::connect(&node).await;
    let mut oldest = http2.websocket("/ws/news").await;
    let mut other = http2.websocket("/ws/news").await;
    assert_eq!(node.post("/api/drain?percent=50", &[], b"").await.status, 202);
    assert_eq!(u16::from(oldest.receive_close().await.code), 1012);
    drop(oldest);
    let request = http2.request("GET", "/nothing").body(()).expect("a request");
    let refused =
        testkit::eventually("GOAWAY", async || http2.try_open(request.clone(), true).await.err())
            .await;
    assert!(refused.is_go_away(), "{refused}");
    other.send("still here").await;
    assert_eq!(other.receive_text().await, "still here");
    node.wait_for_metric(PLAIN, 1.).await;
    drop(other);
    http2.ended().await.expect("no error");
    node.wait_for_metric("tidegate_http2_connections", 0.).await;
    assert_eq!(node.metric(SSE).await, 0.);
}
