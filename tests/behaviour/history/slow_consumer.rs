//! A client that was closed as a slow consumer resumes from its position without loss.

use serde_json::{Value, json};
use testkit::client::{Client, without_times};
use testkit::fleet::{Broker, for_every_broker};
use testkit::node::Node;
use testkit::raw::{BINARY, CLOSE, RawClient, text};

use super::{LONG, Position, publication, publish, resume, subscribed};

for_every_broker!(
    a_closed_slow_consumer_resumes_without_missing_a_publication,
    a_resumed_client_receives_more_bytes_than_its_outbound_queue_holds
);

const SLOW: &str = r#"tidegate_slow_consumers_total{action="closed"}"#;

/// Far beyond what the queue and the system's buffers hold.
const PUBLICATIONS_MAX: u64 = 2000;

const PAYLOAD_BYTES: usize = 16 << 10;

async fn a_closed_slow_consumer_resumes_without_missing_a_publication(broker: Broker) {
    let fleet = broker.fleet(&[LONG, "session.queue_bytes_max=64KiB"]).await;
    let [a, b] = fleet.nodes();
    let mut slow = RawClient::with_small_buffer(a, "/ws").await;
    slow.message().await;
    slow.send(text(r#"{"type":"subscribe","id":1,"channel":"h:1"}"#)).await;
    let answer: Value = serde_json::from_slice(&slow.message().await.payload).expect("JSON");
    let before = Position::of(&answer);
    let mut publisher = Client::json(b).await;
    let filler = "x".repeat(PAYLOAD_BYTES);
    let mut sent = 0;
    while a.metric(SLOW).await == 0. {
        for _ in 0..20 {
            sent += 1;
            publish(&mut publisher, "h:1", json!([sent, filler])).await;
        }
        assert!(sent < PUBLICATIONS_MAX, "the slow consumer was not closed");
    }
    let mut received = 0;
    loop {
        let frame = slow.message().await;
        if frame.first & (BINARY | CLOSE) == CLOSE {
            assert_eq!(frame.close_code(), 4008);
            break;
        }
        received += 1;
        let event = without_times(serde_json::from_slice(&frame.payload).expect("JSON"));
        let expected = publication("h:1", json!([received, filler]), before.plus(received));
        assert_eq!(event, expected);
    }
    assert!(received < sent);
    let mut back = Client::json(b).await;
    let answer = resume(&mut back, "h:1", before.plus(received)).await;
    assert_eq!(answer, subscribed("h:1", before.plus(sent), true));
    for number in received + 1..=sent {
        let expected = publication("h:1", json!([number, filler]), before.plus(number));
        assert_eq!(back.event().await, expected);
    }
}

async fn a_resumed_client_receives_more_bytes_than_its_outbound_queue_holds(broker: Broker) {
    let fleet = broker.fleet(&[LONG]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let filler = "x".repeat(60_000);
    let first = publish(&mut publisher, "h:1", 0).await;
    for number in 1..=150 {
        publish(&mut publisher, "h:1", json!([number, filler])).await;
    }
    for node in [a, b] {
        let mut client = Client::json(node).await;
        let answer = resume(&mut client, "h:1", first).await;
        assert_eq!(answer, subscribed("h:1", first.plus(150), true));
        for number in 1..=150 {
            let expected = publication("h:1", json!([number, filler]), first.plus(number));
            assert_eq!(client.event().await, expected);
        }
    }
}

#[tokio::test]
async fn a_resumed_client_that_reads_nothing_is_closed_after_the_pong_timeout() {
    let heartbeat = ["session.ping_interval=500ms", "session.pong_timeout=500ms"];
    let node = Node::standalone(&[&[LONG][..], &heartbeat].concat()).await;
    let mut publisher = Client::json(&node).await;
    let filler = "x".repeat(60_000);
    let first = publish(&mut publisher, "h:1", 0).await;
    for number in 1..=200 {
        publish(&mut publisher, "h:1", json!([number, filler])).await;
    }
    publisher.close().await;
    let mut unresponsive = RawClient::with_small_buffer(&node, "/ws").await;
    let since = first.to_string();
    let command = json!({"type": "subscribe", "id": 1, "channel": "h:1", "since": since});
    unresponsive.send(text(&command.to_string())).await;
    // The client never reads again, and nothing more is published.
    let closed = r#"tidegate_connections_closed_total{reason="pong_timeout"}"#;
    node.wait_for_metric(closed, 1.).await;
}
