//! Text messages that are not valid UTF-8, also across fragments, are closed with 1007.

use testkit::node::Node;
use testkit::raw::{CONTINUATION, FIN, Frame, PING, RawClient, TEXT, close, frame};

const TRUNCATED: &[u8] = b"\xce\xba\xe1\xbd";

#[tokio::test]
async fn text_that_is_no_utf8_is_closed_with_1007() {
    let node = Node::standalone(&[]).await;
    for (what, bytes) in [
        ("a byte that begins nothing", frame(FIN | TEXT, b"hello \xff")),
        ("a surrogate", frame(FIN | TEXT, b"\xed\xa0\x80")),
        ("an overlong slash", frame(FIN | TEXT, b"\xc0\xaf")),
        ("beyond Unicode", frame(FIN | TEXT, b"\xf4\x90\x80\x80")),
        ("half a character", frame(FIN | TEXT, TRUNCATED)),
        (
            "half a character at the end of the fragments",
            [frame(TEXT, b"a"), frame(FIN | CONTINUATION, TRUNCATED)].concat(),
        ),
        (
            "two halves that do not fit",
            [frame(TEXT, TRUNCATED), frame(FIN | CONTINUATION, b"a")].concat(),
        ),
        (
            "half a character, and nothing",
            [frame(TEXT, TRUNCATED), frame(FIN | CONTINUATION, b"")].concat(),
        ),
        ("in a close reason", close(1000, b"\xff")),
        ("half a character in a close reason", close(1000, TRUNCATED)),
    ] {
        let mut raw = RawClient::open(&node, "/ws/news").await;
        raw.send(bytes).await;
        assert_eq!(raw.frame().await.close_code(), 1007, "{what}");
        raw.expect_end().await;
    }
}

#[tokio::test]
async fn an_invalid_fragment_is_closed_with_1007_before_the_message_ends() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    raw.send(frame(TEXT, b"good")).await;
    raw.send(frame(CONTINUATION, b"bad \xff")).await;
    raw.expect_close(1007).await;
}

#[tokio::test]
async fn characters_split_between_fragments_are_joined() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    let text = "κόσμε 🌊";
    for piece in 1..=4 {
        let mut bytes = frame(TEXT, b"");
        for fragment in text.as_bytes().chunks(piece) {
            bytes.extend(frame(CONTINUATION, fragment));
            bytes.extend(frame(FIN | PING, b""));
        }
        bytes.extend(frame(FIN | CONTINUATION, b""));
        raw.send(bytes).await;
        assert_eq!(raw.message().await, Frame::text(text), "in pieces of {piece}");
    }
}
