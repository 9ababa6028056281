//! A subscriber that stops reading is closed, and does not delay others.

use testkit::client::Client;
use testkit::node::Node;
use testkit::raw::{Frame, RawClient, text};
use testkit::redis::Redis;

const SLOW: &str = r#"tidegate_slow_consumers_total{action="closed"}"#;

/// Far beyond what the queue and the system's buffers hold.
const PUBLICATIONS_MAX: usize = 4000;

const PAYLOAD_BYTES: usize = 16 << 10;

const LARGE_BYTES: usize = 12 << 20;

#[tokio::test]
async fn a_slow_consumer_is_closed_with_4008_and_others_receive_every_publication() {
    let node = Node::standalone(&["session.queue_bytes_max=64KiB"]).await;
    let mut slow = RawClient::with_small_buffer(&node, "/ws/news").await;
    let mut publisher = Client::plain(&node, "news").await;
    let mut subscribers = [Client::plain(&node, "news").await, Client::plain(&node, "news").await];
    let payload = |number: usize| format!("{number} {}", "x".repeat(PAYLOAD_BYTES));

    let mut sent = 0;
    while node.metric(SLOW).await == 0. {
        for _ in 0..20 {
            publisher.send(payload(sent)).await;
            assert_eq!(publisher.receive_text().await, payload(sent));
            for subscriber in &mut subscribers {
                assert_eq!(subscriber.receive_text().await, payload(sent));
            }
            sent += 1;
        }
        assert!(sent < PUBLICATIONS_MAX, "the slow consumer was not closed");
    }

    let mut received = 0;
    let close = loop {
        let frame = slow.frame().await;
        if frame != Frame::text(&payload(received)) {
            break frame;
        }
        received += 1;
    };
    assert_eq!(close.close_code(), 4008, "after {received} of {sent} in order");
    slow.expect_end().await;
    assert!(received < sent);
    assert_eq!(node.metric(SLOW).await, 1.);
    node.wait_for_metric("tidegate_connections", 3.).await;
    node.wait_for_metric("tidegate_outbound_queue_bytes", 0.).await;
}

#[tokio::test]
async fn a_slow_consumer_that_never_reads_the_close_frame_is_removed() {
    let node = Node::standalone(&["session.queue_bytes_max=64KiB"]).await;
    let _slow = RawClient::with_small_buffer(&node, "/ws/news").await;
    let mut publisher = Client::plain(&node, "news").await;
    let payload = "x".repeat(PAYLOAD_BYTES);
    for _ in 0..PUBLICATIONS_MAX {
        publisher.send(payload.as_str()).await;
        publisher.receive().await;
        if node.metric(SLOW).await == 1. {
            break;
        }
    }
    node.wait_for_metric("tidegate_connections", 1.).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_closed_as_slow() {
    let node = Node::standalone(&["session.queue_bytes_max=16KiB"]).await;
    let mut client = RawClient::with_small_buffer(&node, "/ws").await;
    let ping = text(r#"{"type":"ping","id":1234567890}"#);
    let pings = ping.repeat(10_000);
    let mut sent = 0;
    while node.metric(SLOW).await == 0. && sent < 300 {
        sent += 1;
        if client.try_send(&pings).await.is_err() {
            break;
        }
    }
    node.wait_for_metric(SLOW, 1.).await;
}

#[tokio::test]
async fn a_subscriber_that_reads_is_not_closed_as_slow_during_large_bursts() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[]).await;
    let mut connection = redis.connection().await;
    for (count, bytes) in [(2, 600_000), (6, 400_000), (3000, 1000)] {
        let mut client = Client::plain(&node, "news").await;
        let payload = "x".repeat(bytes);
        let mut burst = ::redis::pipe();
        for _ in 0..count {
            burst.cmd("PUBLISH").arg("tidegate:news").arg(&payload);
        }
        let _: Vec<u64> = burst.query_async(&mut connection).await.expect("Redis publishes");
        for number in 0..count {
            assert_eq!(client.receive_text().await.len(), bytes, "{number} of {count}");
        }
    }
    assert_eq!(node.metric(SLOW).await, 0.);
}

#[tokio::test]
async fn a_subscriber_that_reads_receives_publications_larger_than_its_queue() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &["session.queue_bytes_max=64KiB"]).await;
    let mut connection = redis.connection().await;
    let mut client = Client::plain(&node, "news").await;
    // More than the system's buffers hold.
    let large = "x".repeat(LARGE_BYTES);
    for _ in 0..3 {
        let mut burst = ::redis::pipe();
        for payload in [large.as_str(), "small", &large, "small", "small"] {
            burst.cmd("PUBLISH").arg("tidegate:news").arg(payload);
        }
        let _: Vec<u64> = burst.query_async(&mut connection).await.expect("Redis publishes");
        for length in [LARGE_BYTES, 5, LARGE_BYTES, 5, 5] {
            assert_eq!(client.receive_text().await.len(), length);
        }
    }
    assert_eq!(node.metric(SLOW).await, 0.);
}
