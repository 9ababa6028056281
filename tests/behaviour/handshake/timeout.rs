//! `server.handshake_timeout` ends handshakes that take too long.

use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::raw::{RawClient, upgrade};

const TIMEOUT: &str = "server.handshake_timeout=500ms";

#[tokio::test]
async fn a_connection_that_sends_nothing_is_cut_off_after_the_handshake_timeout() {
    let node = Node::standalone(&[TIMEOUT]).await;
    let mut silent = [RawClient::connect(&node).await, RawClient::connect(&node).await];
    for raw in &mut silent {
        raw.read_to_end().await;
    }
}

#[tokio::test]
async fn a_connection_that_sends_half_a_request_is_cut_off_after_the_handshake_timeout() {
    let node = Node::standalone(&[TIMEOUT]).await;
    let head = upgrade("/ws/news", "");
    for end in [1, 20, head.len() - 1] {
        let mut raw = RawClient::connect(&node).await;
        raw.send(&head[..end]).await;
        raw.read_to_end().await;
    }
}

#[tokio::test]
async fn a_request_sent_byte_by_byte_is_cut_off_after_the_handshake_timeout() {
    let node = Node::standalone(&[TIMEOUT]).await;
    let mut raw = RawClient::connect(&node).await;
    let endless = "GET /ws/news HTTP/1.1\r\nHost: gateway\r\nX-Padding: ".to_owned();
    let mut bytes = endless.bytes().chain(std::iter::repeat(b'x'));
    eventually("a byte that cannot be written", async || {
        let byte = bytes.next().expect("it is endless");
        raw.try_send([byte]).await.is_err().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_idle_after_a_refused_request_is_cut_off_after_the_handshake_timeout() {
    let node = Node::standalone(&[TIMEOUT]).await;
    let mut raw = RawClient::connect(&node).await;
    raw.send("GET /nothing HTTP/1.1\r\nHost: gateway\r\n\r\n").await;
    assert_eq!(raw.response().await.status, 404);
    raw.read_to_end().await;
}

#[tokio::test]
async fn the_handshake_timeout_does_not_end_a_session() {
    let node = Node::standalone(&[TIMEOUT]).await;
    let mut client = Client::plain(&node, "news").await;
    // This connection began after the client's, so the client's timeout has passed when it is cut off.
    RawClient::connect(&node).await.read_to_end().await;
    client.send("still here").await;
    assert_eq!(client.receive_text().await, "still here");
}

#[tokio::test]
async fn timed_out_handshakes_free_their_connection_slots() {
    let node = Node::standalone(&[TIMEOUT, "limits.connections_max=3"]).await;
    let mut slow = Vec::new();
    for _ in 0..5 {
        slow.push(RawClient::connect(&node).await);
    }
    for raw in &mut slow {
        raw.read_to_end().await;
    }
    let mut client = Client::plain(&node, "news").await;
    client.send("accepted").await;
    assert_eq!(client.receive_text().await, "accepted");
}
