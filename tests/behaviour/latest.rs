//! Channels with `delivery = "latest"`: a subscriber that stops reading stays connected, and receives the newest
//! publication when it reads again.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::raw::{RawClient, text};

for_simple_brokers!(
    a_latest_subscriber_that_stops_reading_receives_the_newest_when_it_resumes,
    a_latest_subscriber_that_keeps_up_receives_every_publication,
);

const RULES: &str = r#"rules=[{pattern="price:*",delivery="latest"},{pattern="**"}]"#;
const SKIPPED: &str = "tidegate_publications_skipped_total";
const SLOW: &str = r#"tidegate_slow_consumers_total{action="closed"}"#;

/// Far beyond what the queue and the system's buffers hold.
const PUBLICATIONS_MAX: u64 = 4000;

const PAYLOAD_BYTES: usize = 16 << 10;

async fn a_latest_subscriber_that_stops_reading_receives_the_newest_when_it_resumes(
    broker: Broker,
) {
    let fleet = broker.fleet(&[RULES, "session.queue_bytes_max=64KiB"]).await;
    let [a, b] = fleet.nodes();
    let mut slow = RawClient::with_small_buffer(a, "/ws").await;
    slow.message().await;
    slow.send(text(r#"{"type":"subscribe","id":1,"channel":"price:1"}"#)).await;
    slow.expect_text(r#"{"type":"subscribed","id":1,"channel":"price:1"}"#).await;
    let mut publisher = Client::json(b).await;
    let filler = "x".repeat(PAYLOAD_BYTES);
    let mut sent = 0;
    while a.metric(SKIPPED).await < 10. {
        for _ in 0..20 {
            sent += 1;
            publisher.publish("price:1", json!([sent, filler])).await;
        }
        assert!(sent < PUBLICATIONS_MAX, "no publication was skipped");
    }

    let mut last = 0;
    while last < sent {
        let event: Value = serde_json::from_slice(&slow.message().await.payload).expect("JSON");
        assert_eq!(event["type"], "publication", "{event}");
        let number = event["data"][0].as_u64().expect("a number");
        assert!(number > last, "{number} after {last}");
        last = number;
    }
    publisher.publish("price:1", json!("live")).await;
    let event: Value = serde_json::from_slice(&slow.message().await.payload).expect("JSON");
    assert_eq!(event["data"], "live", "{event}");
    assert_eq!(fleet.metric(SLOW).await, 0.);
    a.wait_for_metric("tidegate_outbound_queue_bytes", 0.).await;
}

async fn a_latest_subscriber_that_keeps_up_receives_every_publication(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut subscriber = Client::subscribed(a, "price:1").await;
    let mut publisher = Client::json(b).await;
    for number in 0..200 {
        publisher.publish("price:1", json!(number)).await;
        assert_eq!(subscriber.event().await["data"], number);
    }
    assert_eq!(fleet.metric(SKIPPED).await, 0.);
}
