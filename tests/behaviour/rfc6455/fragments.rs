//! Fragments are joined, and frames may be split over segments in any way.

use testkit::client::{Client, Message};
use testkit::node::Node;
use testkit::raw::{BINARY, CONTINUATION, FIN, Frame, PING, RawClient, TEXT, frame, text};

#[tokio::test]
async fn a_fragmented_message_is_delivered_as_one_frame() {
    let node = Node::standalone(&[]).await;
    let mut subscriber = Client::plain(&node, "news").await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    raw.send(frame(TEXT, b"one ")).await;
    raw.send(frame(CONTINUATION, b"two ")).await;
    raw.send(frame(CONTINUATION, b"")).await;
    raw.send(frame(FIN | CONTINUATION, b"three")).await;
    raw.expect_text("one two three").await;
    assert_eq!(subscriber.receive().await, Message::text("one two three"));

    raw.send(frame(BINARY, b"\xff")).await;
    raw.send(frame(FIN | CONTINUATION, b"\x00")).await;
    assert_eq!(raw.frame().await, Frame { first: FIN | BINARY, payload: b"\xff\x00".into() });
    assert_eq!(subscriber.receive().await, Message::binary(&b"\xff\x00"[..]));
}

#[tokio::test]
async fn a_thousand_fragments_are_joined_to_one_message() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    let mut bytes = frame(TEXT, b"");
    for _ in 0..1000 {
        bytes.extend(frame(CONTINUATION, b"xy"));
    }
    bytes.extend(frame(FIN | CONTINUATION, b""));
    raw.send(bytes).await;
    raw.expect_text(&"xy".repeat(1000)).await;
}

#[tokio::test]
async fn frames_sent_byte_by_byte_are_read() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    let long = "x".repeat(130);
    let frames =
        [text("hello"), text(&long), frame(FIN | PING, b"hey"), frame(FIN | TEXT, b"")].concat();
    for byte in frames {
        raw.send([byte]).await;
    }
    let mut received = Vec::new();
    for _ in 0..4 {
        received.push(raw.frame().await);
    }
    for expected in [Frame::text("hello"), Frame::text(&long), Frame::pong(b"hey"), Frame::text("")]
    {
        assert!(received.contains(&expected), "{expected:?} is not in {received:?}");
    }
}

#[tokio::test]
async fn a_thousand_frames_in_one_segment_are_read() {
    let node = Node::standalone(&["limits.publications_per_second=0"]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    raw.send((0..1000).flat_map(|n| text(&n.to_string())).collect::<Vec<u8>>()).await;
    for number in 0..1000 {
        raw.expect_text(&number.to_string()).await;
    }
}
