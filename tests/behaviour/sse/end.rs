//! How a stream ends, and what brings its client back.

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
async fn a_node_that_drains_says_when_to_come_back_and_exits() {
    let mut node = Node::standalone(&["drain.delay=0s", "drain.period=1s"]).await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(EventStream::open(&node, "/sse/news").await);
    }
    node.signal(Signal::TERM);
    for stream in &mut streams {
        let told = stream.event().await;
        assert_eq!(told.name, "reconnect");
        let told = told.json();
        assert_eq!((&told["type"], &told["reason"]), (&"reconnect".into(), &"drain".into()));
        assert_eq!(told["after_ms"].as_u64(), stream.retry, "a browser waits by itself");
        assert_eq!(stream.try_event().await, None);
    }
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_slow_one_is_cut_off_and_counted_and_delays_no_other() {
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
        assert!(sent < PUBLICATIONS_MAX, "one that does not read has still not been cut off");
    }
    let mut heard = 0;
    while let Some(next) = slow.try_event().await {
        assert_eq!(next, event("", &payload(heard)), "in order and whole");
        heard += 1;
    }
    assert!(heard < sent);
    node.wait_for_metric("tidegate_connections", 2.).await;
    node.wait_for_metric("tidegate_outbound_queue_bytes", 0.).await;
}

#[tokio::test]
async fn while_redis_is_away_a_browser_is_sent_for_later_and_not_refused_for_good() {
    let mut redis = Redis::stopped();
    let node = Node::start_on(&redis, &[]).await;
    let mut stream = EventStream::open(&node, "/sse/news").await;
    let told = stream.event().await;
    assert_eq!((told.name.as_str(), &told.json()["reason"]), ("reconnect", &"unavailable".into()));
    assert_eq!(stream.try_event().await, None);
    redis.run().await;
    node.wait_until_ready().await;
    let mut stream = EventStream::open(&node, "/sse/news").await;
    redis.publish("news", "here again").await;
    assert_eq!(stream.event().await, event("", "here again"));
}

#[tokio::test]
async fn a_client_that_sends_on_and_on_is_cut_off() {
    let node = Node::standalone(&[]).await;
    let mut stream = EventStream::open(&node, "/sse/news").await;
    let closed = r#"tidegate_connections_closed_total{reason="protocol"}"#;
    // It may be reset while it sends.
    let pouring = async { while stream.send(&[b'x'; 1024]).await.is_ok() {} };
    tokio::join!(pouring, node.wait_for_metric(closed, 1.));
    node.wait_for_metric("tidegate_connections", 0.).await;
}

#[tokio::test]
async fn one_that_leaves_is_gone_at_once_and_its_channel_with_it() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let stream = EventStream::open(&node, "/sse/news").await;
    assert_eq!(redis.subscribers("news").await, 1);
    drop(stream);
    node.wait_for_metric("tidegate_connections", 0.).await;
    let gone = async || (redis.subscribers("news").await == 0).then_some(());
    eventually("the channel to be left", gone).await;
}

#[tokio::test]
async fn a_proxy_that_speaks_http_1_0_gets_the_stream_too() {
    let node = Node::standalone(&[]).await;
    let mut raw = RawClient::connect(&node).await;
    raw.send("GET /sse/news HTTP/1.0\r\n\r\n").await;
    let response = raw.response().await;
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert_eq!(response.header("transfer-encoding"), None);
}
