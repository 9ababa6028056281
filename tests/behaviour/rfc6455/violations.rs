//! Frames that violate the protocol are closed with 1002 and do not affect other connections.

use testkit::client::Client;
use testkit::node::Node;
use testkit::raw::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, RawClient, TEXT, frame, text};

fn violations() -> Vec<(String, Vec<u8>)> {
    let mut all = vec![
        ("an unmasked text".to_owned(), vec![FIN | TEXT, 2, b'h', b'i']),
        ("an unmasked ping".to_owned(), vec![FIN | PING, 0]),
        ("a continuation of nothing".to_owned(), frame(FIN | CONTINUATION, b"x")),
        ("an opening continuation".to_owned(), frame(CONTINUATION, b"x")),
        ("a text within a text".to_owned(), [frame(TEXT, b"a"), frame(FIN | TEXT, b"b")].concat()),
        ("a binary within a text".to_owned(), [frame(TEXT, b"a"), frame(BINARY, b"b")].concat()),
        (
            "a continuation after the last".to_owned(),
            [frame(TEXT, b"a"), frame(FIN | CONTINUATION, b"b"), frame(FIN | CONTINUATION, b"c")]
                .concat(),
        ),
        ("a length of 5 in 16 bits".to_owned(), vec![FIN | TEXT, 0xFE, 0, 5, 0, 0, 0, 0]),
        ("a length of 125 in 16 bits".to_owned(), vec![FIN | TEXT, 0xFE, 0, 125, 0, 0, 0, 0]),
        (
            "a length of 65535 in 64 bits".to_owned(),
            vec![FIN | BINARY, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0],
        ),
        (
            "a length of 5 in 64 bits".to_owned(),
            vec![FIN | TEXT, 0xFF, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0],
        ),
        (
            "a length of 64 bits".to_owned(),
            vec![FIN | BINARY, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
    ];
    for bit in [0x40, 0x20, 0x10] {
        all.push((format!("the reserved bit {bit:#x}"), frame(FIN | bit | TEXT, b"hi")));
        all.push((format!("the reserved bit {bit:#x} of a ping"), frame(FIN | bit | PING, b"")));
        let continued = [frame(TEXT, b"a"), frame(FIN | bit | CONTINUATION, b"b")].concat();
        all.push((format!("the reserved bit {bit:#x} of a continuation"), continued));
    }
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        all.push((format!("the reserved opcode {opcode:#x}"), frame(FIN | opcode, b"")));
    }
    for opcode in [CLOSE, PING, PONG] {
        all.push((format!("a fragmented control frame {opcode:#x}"), frame(opcode, b"")));
        let long = frame(FIN | opcode, &[b'x'; 126]);
        all.push((format!("a control frame {opcode:#x} of 126 bytes"), long));
    }
    all
}

#[tokio::test]
async fn each_protocol_violation_is_closed_with_1002_and_affects_no_other_connection() {
    let node = Node::standalone(&[]).await;
    let mut other = Client::plain(&node, "news").await;
    let violations = violations();
    for (what, bytes) in &violations {
        let mut raw = RawClient::open(&node, "/ws/sport?echo=false").await;
        raw.send(bytes).await;
        let code = raw.frame().await.close_code();
        assert_eq!(code, 1002, "{what}");
        raw.expect_end().await;
        other.send(what.as_str()).await;
        assert_eq!(other.receive_text().await, *what);
    }
    let closed = r#"tidegate_connections_closed_total{reason="protocol"}"#;
    node.wait_for_metric(closed, violations.len() as f64).await;
    node.wait_for_metric("tidegate_connections", 1.).await;
}

#[tokio::test]
async fn frames_before_a_violation_are_published_and_frames_after_it_are_not() {
    let node = Node::standalone(&[]).await;
    let mut other = Client::plain(&node, "news").await;
    let mut raw = RawClient::open(&node, "/ws/news?echo=false").await;
    let unmasked = vec![FIN | TEXT, 1, b'x'];
    raw.send([text("before"), unmasked, text("after")].concat()).await;
    assert_eq!(raw.frame().await.close_code(), 1002);
    assert_eq!(other.receive_text().await, "before");
    other.send("next").await;
    assert_eq!(other.receive_text().await, "next");
}

#[tokio::test]
async fn the_close_frame_for_a_violation_carries_a_reason() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::open(&node, "/ws/news").await;
    raw.send([FIN | TEXT, 2, b'h', b'i']).await;
    let frame = raw.frame().await;
    let reason = std::str::from_utf8(&frame.payload[2..]).expect("a reason is UTF-8");
    assert!(!reason.is_empty() && frame.payload.len() <= 125, "{reason:?}");
}
