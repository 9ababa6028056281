//! Pings are answered at once, also within a fragmented message; unsolicited pongs are ignored.

use testkit::node::Node;
use testkit::raw::{CONTINUATION, FIN, Frame, PING, PONG, RawClient, TEXT, frame, text};

#[tokio::test]
async fn a_ping_is_answered_with_a_pong_of_the_same_payload() {
    let node = Node::standalone(&[]).await;
    for path in ["/ws/news", "/ws"] {
        let mut raw = RawClient::open(&node, path).await;
        for payload in [&b""[..], b"hello", b"\xff\x00", &[b'x'; 125]] {
            raw.send(frame(FIN | PING, payload)).await;
            let mut received = raw.frame().await;
            if received.first == FIN | TEXT {
                // The first frame is the welcome.
                received = raw.frame().await;
            }
            assert_eq!(received, Frame::pong(payload));
        }
    }
}

#[tokio::test]
async fn a_ping_between_fragments_is_answered_before_the_message_ends() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    raw.send(frame(TEXT, b"one ")).await;
    raw.send(frame(FIN | PING, b"payload")).await;
    assert_eq!(raw.frame().await, Frame::pong(b"payload"));
    raw.send(frame(FIN | CONTINUATION, b"two")).await;
    raw.expect_text("one two").await;
}

#[tokio::test]
async fn pings_between_fragments_in_one_segment_are_answered() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    let bytes = [
        frame(TEXT, b"one "),
        frame(FIN | PING, b"1"),
        frame(CONTINUATION, b"two "),
        frame(FIN | PING, b"2"),
        frame(FIN | CONTINUATION, b"three"),
    ];
    raw.send(bytes.concat()).await;
    let received = [raw.frame().await, raw.frame().await, raw.frame().await];
    let pongs: Vec<_> = received.iter().filter(|frame| frame.first == FIN | PONG).collect();
    assert_eq!(pongs, [&Frame::pong(b"1"), &Frame::pong(b"2")]);
    assert!(received.contains(&Frame::text("one two three")));
}

#[tokio::test]
async fn an_unsolicited_pong_is_ignored() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    for payload in [&b""[..], b"unsolicited", &[0xFF; 125]] {
        raw.send(frame(FIN | PONG, payload)).await;
    }
    raw.send(text("hello")).await;
    raw.expect_text("hello").await;
}
