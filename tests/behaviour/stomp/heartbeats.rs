//! Heart-beats in both directions.

use std::time::Duration;

use testkit::client::Message;
use testkit::node::Node;
use tokio::time::Instant;

use super::Stomp;

#[tokio::test]
async fn a_client_that_wants_heart_beats_gets_them_and_they_are_no_flood() {
    let node = Node::standalone(&["session.ping_interval=1s"]).await;
    let mut stomp = Stomp::connect_with(&node, "accept-version:1.2\nheart-beat:0,1\n").await;
    assert_eq!(stomp.connected.header("heart-beat"), Some("1000,1000"));
    let begin = Instant::now();
    for _ in 0..3 {
        assert_eq!(stomp.client.receive().await, Message::text("\n"));
    }
    assert!(begin.elapsed() > Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_client_that_breaks_its_promise_is_closed_with_an_error() {
    let node = Node::standalone(&["session.ping_interval=1s"]).await;
    let mut stomp = Stomp::connect_with(&node, "accept-version:1.1\nheart-beat:1000,0\n").await;
    // The library answers pings of the WebSocket meanwhile.
    let error = stomp.frame().await;
    assert_eq!((&*error.command, error.header("code")), ("ERROR", Some("pong_timeout")));
    assert_eq!(u16::from(stomp.closed().await.code), 4009);
}

#[tokio::test]
async fn a_client_that_keeps_its_promise_stays() {
    let node = Node::standalone(&["session.ping_interval=1s"]).await;
    let mut stomp = Stomp::connect_with(&node, "accept-version:1.2\nheart-beat:1000,1000\n").await;
    for _ in 0..5 {
        assert_eq!(stomp.client.receive().await, Message::text("\n"));
        stomp.client.send("\n").await;
    }
    stomp.quiet().await;
}

#[tokio::test]
async fn version_1_0_has_no_heart_beats_and_a_faulty_offer_is_refused() {
    let node = Node::standalone(&[]).await;
    let stomp = Stomp::connect_with(&node, "accept-version:1.0\nheart-beat:1,1\n").await;
    assert_eq!(stomp.connected.header("heart-beat"), None);
    let mut client = Stomp::upgraded(&node).await;
    client.send("CONNECT\naccept-version:1.2\nheart-beat:fast\n\n\0").await;
    super::Frame::of(client.receive().await).assert_error("heart-beat");
}
