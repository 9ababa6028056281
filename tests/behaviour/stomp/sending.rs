//! SEND: bodies, receipts, destinations, and frames however they are cut into messages.

use testkit::client::Client;
use testkit::node::Node;

use super::{Frame, HISTORY, Stomp, publish};

#[tokio::test]
async fn a_body_arrives_as_it_was_sent_at_subscribers_of_every_destination_form() {
    let node = Node::standalone(&[]).await;
    let mut sender = Stomp::connect(&node).await;
    for destination in ["/topic/news", "/channel/news", "news"] {
        let mut stomp = Stomp::subscribed(&node, destination).await;
        sender.request("SEND", "destination:/topic/news\ncontent-type:text/plain\n", "é 🌊").await;
        let message = stomp.frame().await;
        assert_eq!((&*message.command, message.text()), ("MESSAGE", "é 🌊"));
        assert_eq!(message.header("destination"), Some(destination));
        assert_eq!(message.header("subscription"), Some("0"));
        assert_eq!(message.header("content-length"), Some("7"));
        assert!(message.header("timestamp").is_some_and(|it| it.parse::<u64>().is_ok()));
    }
}

#[tokio::test]
async fn a_binary_body_may_hold_nul_and_arrives_as_a_binary_message() {
    let node = Node::standalone(&[]).await;
    let mut stomp = Stomp::subscribed(&node, "a").await;
    let mut frame = b"SEND\ndestination:a\ncontent-length:4\n\n".to_vec();
    frame.extend_from_slice(b"\xff\0\n\0\0");
    stomp.client.send(frame).await;
    let message = stomp.frame().await;
    assert_eq!((&message.body[..], message.is_binary), (&b"\xff\0\n\0"[..], true));
    assert_eq!(message.header("content-type"), Some("application/octet-stream"));
}

#[tokio::test]
async fn a_body_that_is_no_text_is_refused_where_its_type_says_text() {
    let node = Node::standalone(&[]).await;
    let mut stomp = Stomp::connect(&node).await;
    stomp.client.send(b"SEND\ndestination:a\ncontent-type:text/plain\n\n\xff\0".to_vec()).await;
    stomp.frame().await.assert_error("UTF-8");
    assert_eq!(u16::from(stomp.closed().await.code), 1002);
}

#[tokio::test]
async fn a_receipt_of_a_send_follows_the_brokers_answer_and_names_the_position() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut stomp = Stomp::connect(&node).await;
    let receipt = stomp.request("SEND", "destination:h:a\n", "1").await;
    let first = receipt.header("position").expect("a position").to_owned();
    let receipt = stomp.request("SEND", "destination:h:a\n", "2").await;
    assert_ne!(receipt.header("position"), Some(&*first));
    assert_eq!(stomp.request("SEND", "destination:b\n", "1").await.header("position"), None);
}

#[tokio::test]
async fn a_repeated_idempotency_key_is_published_once() {
    let node = Node::standalone(&[HISTORY]).await;
    let mut stomp = Stomp::subscribed(&node, "h:a").await;
    for _ in 0..2 {
        stomp.send("SEND", "destination:h:a\nidempotency-key:k\n", "once").await;
    }
    assert_eq!(stomp.frame().await.text(), "once");
    stomp.quiet().await;
}

#[tokio::test]
async fn frames_are_read_however_they_are_cut_into_messages() {
    let node = Node::standalone(&[]).await;
    let mut stomp = Stomp::subscribed(&node, "a").await;
    let frames = "\n\nSEND\ndestination:a\n\none\0\n\r\nSEND\r\ndestination:a\r\ncontent-length:3\r\n\r\ntwo\0\n";
    stomp.client.send(frames).await;
    for expected in ["one", "two"] {
        assert_eq!(stomp.frame().await.text(), expected);
    }
    for size in [1, 7] {
        for part in frames.as_bytes().chunks(size) {
            stomp.client.send(str::from_utf8(part).expect("ascii")).await;
        }
        for expected in ["one", "two"] {
            assert_eq!(stomp.frame().await.text(), expected, "in parts of {size}");
        }
    }
}

#[tokio::test]
async fn the_first_of_repeated_headers_counts_and_escapes_are_those_of_the_version() {
    let node = Node::standalone(&[]).await;
    let mut stomp = Stomp::connect_with(&node, "accept-version:1.2\n").await;
    stomp
        .send("SUBSCRIBE", "id:a\\cb\\n\\\\\nid:other\ndestination:x\\cy\nreceipt:r\\c1\n", "")
        .await;
    assert_eq!(stomp.frame().await.header("receipt-id"), Some("r\\c1"));
    publish(&node, "x:y", b"hi").await;
    let message = stomp.frame().await;
    assert_eq!(message.header("subscription"), Some("a\\cb\\n\\\\"));
    assert_eq!(message.header("destination"), Some("x\\cy"));
    let mut old = Stomp::connect_with(&node, "accept-version:1.0\n").await;
    old.request("SUBSCRIBE", "id: a\\cb\ndestination: x:y\n", "").await;
    publish(&node, "x:y", b"hi").await;
    assert_eq!(stomp.frame().await.command, "MESSAGE");
    let message = old.frame().await;
    assert_eq!(message.header("subscription"), Some("a\\cb"), "version 1.0 has no escapes");
    assert_eq!(message.header("destination"), Some("x:y"));
    let (error, code) = stomp.refused("SEND", "destination:a\\tb\n", "").await;
    error.assert_error("escape");
    assert_eq!(code, 1002);
}

#[tokio::test]
async fn frames_before_connect_unknown_commands_and_queues_are_refused() {
    let node = Node::standalone(&[]).await;
    let mut client = Stomp::upgraded(&node).await;
    client.send("SEND\ndestination:a\n\nx\0").await;
    Frame::of(client.receive().await).assert_error("CONNECT");
    for (command, headers, part) in [
        ("DANCE", "", "DANCE"),
        ("SEND", "destination:/queue/a\n", "there are no queues"),
        ("SEND", "", "destination"),
        ("SEND", "no colon\n", "NAME:VALUE"),
        ("SEND", "destination:a\ncontent-length:x\n", "content-length"),
        ("SEND", "destination:a\ncontent-length:1\n", "NUL"),
    ] {
        let mut stomp = Stomp::connect(&node).await;
        let (error, code) = stomp.refused(command, headers, "body").await;
        error.assert_error(part);
        assert_eq!(code, 1002, "{part}");
    }
}

#[tokio::test]
async fn other_protocols_get_what_stomp_sends_and_the_reverse() {
    let node = Node::standalone(&[]).await;
    let mut json = Client::subscribed(&node, "a").await;
    let mut stomp = Stomp::subscribed(&node, "a").await;
    stomp.send("SEND", "destination:a\n", r#"{"n":1}"#).await;
    assert_eq!(json.event().await["data"]["n"], 1);
    assert_eq!(stomp.frame().await.text(), r#"{"n":1}"#);
    json.send(r#"{"type":"publish","channel":"a","text":"hi"}"#).await;
    let message = stomp.frame().await;
    assert_eq!((message.text(), message.header("content-type")), ("hi", None));
}
