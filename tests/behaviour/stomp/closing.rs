//! What ends a connection: DISCONNECT, a drain, the node's limits.

use testkit::node::Node;
use testkit::process::Signal;
use testkit::redis::Redis;

use super::{Stomp, publish};

#[tokio::test]
async fn a_disconnect_is_answered_after_everything_before_it() {
    let node = Node::standalone(&[]).await;
    let mut stomp = Stomp::connect(&node).await;
    let frames = "SEND\ndestination:a\nreceipt:1\n\nx\0SEND\ndestination:a\nreceipt:2\n\nx\0DISCONNECT\nreceipt:3\n\n\0";
    stomp.client.send(frames).await;
    for receipt in ["1", "2", "3"] {
        assert_eq!(stomp.frame().await.header("receipt-id"), Some(receipt));
    }
    assert_eq!(u16::from(stomp.closed().await.code), 1000);
}

#[tokio::test]
async fn a_refused_frame_is_the_last_one_that_is_executed_and_receipts_before_it_are_sent() {
    let node = Node::standalone(&[]).await;
    let mut subscriber = Stomp::subscribed(&node, "a").await;
    let mut stomp = Stomp::connect(&node).await;
    let frames =
        "SEND\ndestination:a\nreceipt:1\n\n1\0SEND\nreceipt:2\n\n2\0SEND\ndestination:a\n\n3\0";
    stomp.client.send(frames).await;
    assert_eq!(stomp.frame().await.header("receipt-id"), Some("1"));
    let error = stomp.frame().await;
    assert_eq!((&*error.command, error.header("receipt-id")), ("ERROR", Some("2")));
    assert_eq!(u16::from(stomp.closed().await.code), 1002);
    assert_eq!(subscriber.frame().await.text(), "1");
    publish(&node, "a", b"last").await;
    assert_eq!(subscriber.frame().await.text(), "last");
}

#[tokio::test]
async fn a_draining_node_sends_an_error_that_says_when_to_reconnect() {
    let node = Node::standalone(&["drain.delay=0s", "drain.period=100ms"]).await;
    let mut stomp = Stomp::subscribed(&node, "a").await;
    node.signal(Signal::TERM);
    let error = stomp.frame().await;
    assert_eq!((&*error.command, error.header("code")), ("ERROR", Some("drain")));
    let after = error.header("reconnect-after").and_then(|after| after.parse::<u64>().ok());
    assert!(after.is_some(), "{error:?}");
    assert_eq!(u16::from(stomp.closed().await.code), 1012);
}

#[tokio::test]
async fn a_send_that_the_broker_cannot_take_is_a_temporary_error() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &["broker.publish_timeout=500ms"]).await;
    let mut stomp = Stomp::connect(&node).await;
    redis.freeze();
    let (error, code) = stomp.refused("SEND", "destination:a\nreceipt:r\n", "x").await;
    redis.thaw();
    let told = (error.header("code"), error.header("receipt-id"), code);
    assert_eq!(told, (Some("unavailable"), Some("r"), 1013));
}

#[tokio::test]
async fn a_client_over_its_rate_gets_an_error() {
    let node = Node::standalone(&["limits.publications_per_second=10"]).await;
    let mut stomp = Stomp::connect(&node).await;
    for _ in 0..30 {
        if stomp.client.try_send("SEND\ndestination:a\n\nx\0").await.is_err() {
            break;
        }
    }
    let error = stomp.frame().await;
    assert_eq!((&*error.command, error.header("code")), ("ERROR", Some("rate_limited")));
    assert_eq!(u16::from(stomp.closed().await.code), 4029);
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_an_error_however_it_is_cut() {
    let node = Node::standalone(&["session.message_bytes_max=4KiB"]).await;
    let mut stomp = Stomp::connect(&node).await;
    let (error, code) = stomp.refused("SEND", "destination:a\ncontent-length:5000\n", "x").await;
    assert_eq!((error.header("code"), code), (Some("too_large"), 1009));
    error.assert_error("session.message_bytes_max = 4096");
    let mut stomp = Stomp::connect(&node).await;
    stomp.client.send("SEND\ndestination:a\n\n").await;
    for _ in 0..5 {
        _ = stomp.client.try_send("x".repeat(1000)).await;
    }
    assert_eq!(stomp.frame().await.header("code"), Some("too_large"));
    // One message of the WebSocket that is larger.
    let mut stomp = Stomp::connect(&node).await;
    let (error, code) = stomp.refused("SEND", "destination:a\n", &"x".repeat(5000)).await;
    assert_eq!((error.header("code"), code), (Some("too_large"), 1009));
}
