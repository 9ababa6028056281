//! Pings are answered at once, whatever else is going on; pongs nobody asked for are let pass.

use testkit::node::Node;
use testkit::raw::{CONTINUATION, FIN, Frame, PING, PONG, RawClient, TEXT, frame, text};

#[tokio::test]
async fn a_ping_comes_back_with_its_payload() {
    let node = Node::standalone(&[]).await;
    for path in ["/ws/news", "/ws"] {
        let mut raw = RawClient::open(&node, path).await;
        for payload in [&b""[..], b"hello", b"\xff\x00", &[b'x'; 125]] {
            raw.send(frame(FIN | PING, payload)).await;
            let mut heard = raw.frame().await;
            if heard.first == FIN | TEXT {
                // The welcome.
                heard = raw.frame().await;
            }
            assert_eq!(heard, Frame::pong(payload));
        }
    }
}

#[tokio::test]
async fn also_in_the_middle_of_a_message() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    raw.send(frame(TEXT, b"one ")).await;
    raw.send(frame(FIN | PING, b"still there?")).await;
    assert_eq!(raw.frame().await, Frame::pong(b"still there?"));
    raw.send(frame(FIN | CONTINUATION, b"two")).await;
    raw.expect_text("one two").await;
}

#[tokio::test]
async fn also_with_an_end_of_the_message_in_the_same_segment() {
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
    let heard = [raw.frame().await, raw.frame().await, raw.frame().await];
    let pongs: Vec<_> = heard.iter().filter(|frame| frame.first == FIN | PONG).collect();
    assert_eq!(pongs, [&Frame::pong(b"1"), &Frame::pong(b"2")]);
    assert!(heard.contains(&Frame::text("one two three")));
}

#[tokio::test]
async fn a_pong_nobody_asked_for_is_let_pass() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    for payload in [&b""[..], b"unasked", &[0xFF; 125]] {
        raw.send(frame(FIN | PONG, payload)).await;
    }
    raw.send(text("hello")).await;
    raw.expect_text("hello").await;
}
