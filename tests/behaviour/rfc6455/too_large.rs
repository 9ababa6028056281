//! Messages larger than `session.message_bytes_max` are closed with 1009 before they are buffered.

use testkit::client::Client;
use testkit::node::Node;
use testkit::raw::{BINARY, CONTINUATION, FIN, Frame, RawClient, TEXT, frame, head, text};
use tokio::join;

const MAX: usize = 64 << 10;

#[tokio::test]
async fn a_frame_header_that_announces_too_large_a_message_is_closed_with_1009() {
    let node = Node::standalone(&[]).await;
    for length in [MAX as u64 + 1, 1 << 30, i64::MAX as u64] {
        for first in [FIN | TEXT, BINARY] {
            let mut raw = RawClient::open(&node, "/ws/news").await;
            raw.send(head(first, length)).await;
            raw.expect_close(1009).await;
        }
    }
}

#[tokio::test]
async fn fragments_that_together_exceed_the_limit_are_closed_with_1009() {
    let node = Node::standalone(&["session.message_bytes_max=1KiB"]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    raw.send(frame(BINARY, &[b'x'; 1000])).await;
    raw.send(frame(CONTINUATION, &[b'x'; 24])).await;
    raw.send(head(FIN | CONTINUATION, 1)).await;
    raw.expect_close(1009).await;
}

#[tokio::test]
async fn a_message_of_exactly_the_largest_size_is_delivered() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    let whole = "x".repeat(MAX);
    raw.send(text(&whole)).await;
    assert_eq!(raw.frame().await, Frame::text(&whole));
    let (front, back) = whole.as_bytes().split_at(MAX / 3);
    raw.send([frame(TEXT, front), frame(FIN | CONTINUATION, back)].concat()).await;
    assert_eq!(raw.frame().await, Frame::text(&whole));
}

#[tokio::test]
async fn a_client_that_sends_a_whole_too_large_message_receives_the_close_frame() {
    let node = Node::standalone(&[]).await;
    for megabytes in [1, 8] {
        let mut client = Client::plain(&node, "news").await;
        let sent = client.try_send("x".repeat(megabytes << 20)).await;
        let code = client.receive_close().await.code;
        assert_eq!(u16::from(code), 1009, "after sending ended with {sent:?}");
    }
}

#[tokio::test]
async fn a_too_large_message_does_not_affect_other_connections() {
    let node = Node::standalone(&[]).await;
    let mut other = Client::plain(&node, "news").await;
    let mut raw = RawClient::open(&node, "/ws/sport").await;
    let ((), ()) = join!(raw.send(head(FIN | TEXT, 1 << 20)), other.send("hello"));
    raw.expect_close(1009).await;
    assert_eq!(other.receive_text().await, "hello");
}
