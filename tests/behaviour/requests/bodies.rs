//! The bodies of `POST /publish`: kinds, sizes, and how they arrive.

use testkit::client::Client;
use testkit::node::Node;
use testkit::raw::{BINARY, FIN, Frame, RawClient};
use testkit::requester::Requester;

#[tokio::test]
async fn the_content_type_of_a_body_decides_between_text_and_binary() {
    let node = Node::standalone(&[]).await;
    let mut subscriber = RawClient::open(&node, "/ws/news").await;
    let mut requester = Requester::connect(&node).await;
    let utf8 = "ü".as_bytes();
    let (text, binary) = (Frame::text("ü"), |payload: &[u8]| Frame {
        first: FIN | BINARY,
        payload: payload.into(),
    });
    for (content_type, body, expected) in [
        ("text/plain", utf8, Some(text)),
        ("application/json", utf8, Some(Frame::text("ü"))),
        ("application/octet-stream", utf8, Some(binary(utf8))),
        ("application/x-www-form-urlencoded", utf8, Some(Frame::text("ü"))),
        ("image/png", b"\xff", Some(binary(b"\xff"))),
        ("text/plain", b"\xff", None),
        ("application/json; charset=utf-8", b"\xff", None),
    ] {
        let headers = [("Content-Type", content_type)];
        let answer = requester.request("POST", "/publish/news", &headers, body).await;
        match expected {
            Some(frame) => {
                assert_eq!(answer.status, 202, "{content_type}: {answer:?}");
                assert_eq!(subscriber.frame().await, frame, "{content_type}");
            }
            None => {
                assert_eq!(answer.status, 400, "{content_type}: {answer:?}");
                assert!(answer.text().contains("must be UTF-8"), "{answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_body_beyond_the_message_limit_is_refused_without_being_read() {
    let node = Node::standalone(&["session.message_bytes_max=1KiB"]).await;
    let largest = Requester::connect(&node).await.post("/publish/news", &[b'x'; 1024]).await;
    assert_eq!(largest.status, 202, "{largest:?}");
    let endless = "Transfer-Encoding: chunked\r\n\r\n800\r\n".to_owned() + &"x".repeat(0x800);
    for rest in [
        "Content-Length: 1025\r\n\r\n".to_owned(),
        "Content-Length: 99999999999\r\n\r\nx".to_owned(),
        "Expect: 100-continue\r\nContent-Length: 1025\r\n\r\n".to_owned(),
        endless,
    ] {
        let mut raw = RawClient::connect(&node).await;
        raw.send(format!("POST /publish/news HTTP/1.1\r\nHost: localhost\r\n{rest}")).await;
        let answer = raw.response().await;
        assert_eq!(answer.status, 413, "{rest:.40}: {answer:?}");
        assert_eq!(answer.header("connection"), Some("close"));
        let error = &answer.json()["error"];
        assert_eq!(error["code"], "too_large");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains("session.message_bytes_max = 1024"), "{message}");
    }
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it_before_its_body() {
    let node = Node::standalone(&[]).await;
    let mut subscriber = Client::plain(&node, "news").await;
    let mut raw = RawClient::connect(&node).await;
    let head = "POST /publish/news HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    raw.send(head).await;
    assert_eq!(raw.response().await.status, 100);
    raw.send("hello").await;
    assert_eq!(raw.response().await.status, 202);
    assert_eq!(subscriber.receive_text().await, "hello");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_gets_408() {
    let node = Node::standalone(&["server.handshake_timeout=300ms"]).await;
    let mut raw = RawClient::connect(&node).await;
    raw.send("POST /publish/news HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhel")
        .await;
    let answer = raw.response().await;
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert!(answer.text().contains("server.handshake_timeout"), "{answer:?}");
    raw.expect_end().await;
}

#[tokio::test]
async fn a_connection_outlives_the_handshake_timeout_between_requests() {
    let node = Node::standalone(&["server.handshake_timeout=200ms"]).await;
    let mut requester = Requester::connect(&node).await;
    for _ in 0..3 {
        // The poll and the pause after it take longer than a request may.
        assert_eq!(requester.get("/poll/news?wait=400ms").await.status, 200);
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        assert_eq!(requester.post("/publish/news", b"1").await.status, 202);
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    }
    // But the head of a request may not.
    let mut raw = RawClient::connect(&node).await;
    raw.send("POST /publish/news HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1").await;
    assert_eq!(raw.response().await.status, 202);
    raw.send("POST /publish/news HTTP/1.1\r\n").await;
    raw.expect_end().await;
}
