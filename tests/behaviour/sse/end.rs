//! How an event stream ends, and how its client reconnects.

use testkit::client::Client;
use testkit::event_stream::EventStream;
use testkit::eventually;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::raw::RawClient;
use testkit::redis::Redis;

use super::event;

const SLOW: &str = r#"tidegate_slow_consumers_total{action="closed"}"#;

/// Far beyond what the queue and the system's buffers hold.
const PUBLICATIONS_MAX: usize = 4000;

#[tokio::test]
async fn a_draining_node_sends_event_streams_a_reconnect_time_and_exits() {
    let mut node = Node::standalone(&["drain.delay=0s", "drain.period=1s"]).await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(EventStream::open(&node, "/sse/news").await);
    }
    node.signal(Signal::TERM);
    for stream in &mut streams {
        let reconnect = stream.event().await;
        assert_eq!(reconnect.name, "reconnect");
        let reconnect = reconnect.json();
        assert_eq!(
            (&reconnect["type"], &reconnect["reason"]),
            (&"reconnect".into(), &"drain".into())
        );
        assert_eq!(
            reconnect["after_ms"].as_u64(),
            stream.retry,
            "a browser waits for the retry time"
        );
        assert_eq!(stream.try_event().await, None);
    }
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_slow_event_stream_is_cut_off_and_counted_and_delays_no_other() {
    let node = Node::standalone(&["session.queue_bytes_max=64KiB"]).await;
    let mut slow = EventStream::with_small_buffer(&node, "/sse/news").await;
    let mut prompt = EventStream::open(&node, "/sse/news").await;
    let mut publisher = Client::plain(&node, "news").await;
    let payload = |number: usize| format!("{number} {}", "x".repeat(16 << 10));
    let mut sent = 0;
    while node.metric(SLOW).await == 0. {
        for _ in 0..20 {
            publisher.send(payload(sent)).await;
            assert_eq!(publisher.receive_text().await, payload(sent));
            assert_eq!(prompt.event().await, event("", &payload(sent)));
            sent += 1;
        }
        assert!(sent < PUBLICATIONS_MAX, "the slow consumer was not cut off");
    }
    let mut received = 0;
    while let Some(next) = slow.try_event().await {
        assert_eq!(next, event("", &payload(received)), "out of order or incomplete");
        received += 1;
    }
    assert!(received < sent);
    node.wait_for_metric("tidegate_connections", 2.).await;
    node.wait_for_metric("tidegate_outbound_queue_bytes", 0.).await;
}

#[tokio::test]
async fn while_redis_is_down_an_event_stream_gets_a_reconnect_event_instead_of_an_error() {
    let mut redis = Redis::stopped();
    let node = Node::start_on(&redis, &[]).await;
    let mut stream = EventStream::open(&node, "/sse/news").await;
    let reconnect = stream.event().await;
    let reason = &reconnect.json()["reason"];
    assert_eq!((reconnect.name.as_str(), reason), ("reconnect", &"unavailable".into()));
    assert_eq!(stream.try_event().await, None);
    redis.run().await;
    node.wait_until_ready().await;
    let mut stream = EventStream::open(&node, "/sse/news").await;
    redis.publish("news", "available again").await;
    assert_eq!(stream.event().await, event("", "available again"));
}

#[tokio::test]
async fn an_event_stream_whose_client_keeps_sending_is_cut_off() {
    let node = Node::standalone(&[]).await;
    let mut stream = EventStream::open(&node, "/sse/news").await;
    let closed = r#"tidegate_connections_closed_total{reason="protocol"}"#;
    // The node may reset the connection while the client sends.
    let sending = async { while stream.send(&[b'x'; 1024]).await.is_ok() {} };
    tokio::join!(sending, node.wait_for_metric(closed, 1.));
    node.wait_for_metric("tidegate_connections", 0.).await;
}

#[tokio::test]
async fn an_event_stream_whose_client_disconnects_is_removed_with_its_subscription() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let stream = EventStream::open(&node, "/sse/news").await;
    assert_eq!(redis.subscribers("news").await, 1);
    drop(stream);
    node.wait_for_metric("tidegate_connections", 0.).await;
    let gone = async || (redis.subscribers("news").await == 0).then_some(());
    eventually("the node to unsubscribe from the channel", gone).await;
}

#[tokio::test]
async fn an_http_1_0_proxy_gets_the_event_stream_without_chunked_encoding() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::connect(&node).await;
    raw.send("GET /sse/news HTTP/1.0\r\n\r\n").await;
    let response = raw.response().await;
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert_eq!(response.header("transfer-encoding"), None);
}
