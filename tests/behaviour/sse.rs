//! `GET /sse/{channel}`: the publications of a channel as Server-Sent Events.

mod access;
mod channels;
mod end;

use testkit::client::Client;
use testkit::event_stream::{EventStream, SseEvent};
use testkit::fleet::{Broker, Fleet, for_every_broker};
use testkit::node::Node;
use testkit::raw::{BINARY, FIN, RawClient, frame};

for_every_broker!(
    a_publication_arrives_as_an_event_with_its_payload_unchanged,
    an_event_stream_resumed_on_another_node_gets_each_publication_once,
    an_event_stream_resumed_from_an_unrecoverable_position_begins_with_a_gap,
);

const HISTORY: &str = r#"rules=[{pattern="h:*",history={size=10,age="10m"}},{pattern="**"}]"#;

/// An event of a channel without history.
fn event(name: &str, data: &str) -> SseEvent {
    SseEvent { name: name.to_owned(), data: data.to_owned(), id: String::new() }
}

/// Publishes these numbers through the API, one after the other.
async fn publish_all(node: &Node, channel: &str, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        let path = format!("/api/publish/{channel}");
        let answer = node.post(&path, &[], number.to_string().as_bytes()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
}

/// Asserts that these numbers arrive next on a channel with history, and returns the last id.
async fn receive_all(stream: &mut EventStream, numbers: std::ops::RangeInclusive<u32>) -> String {
    for number in numbers {
        let event = stream.event().await;
        assert_eq!((event.name.as_str(), event.data), ("", number.to_string()));
        assert!(!event.id.is_empty(), "an event of a channel with history has an id");
    }
    stream.last_id.clone()
}

async fn a_publication_arrives_as_an_event_with_its_payload_unchanged(broker: Broker) {
    let fleet = broker.fleet(&[]).await;
    let [a, b] = fleet.nodes();
    let mut streams =
        [EventStream::open(a, "/sse/news").await, EventStream::open(b, "/sse/news").await];
    let mut publisher = RawClient::open(b, "/ws/news").await;
    let json = r#"{"b":1.0, "a":"ü"}"#;
    for payload in [json, "", " two\nlines", "nul\0: id: 1", "last"] {
        publisher.send(testkit::raw::text(payload)).await;
        for stream in &mut streams {
            assert_eq!(stream.event().await, event("", payload));
        }
    }
    publisher.send(frame(FIN | BINARY, b"\xff\x00")).await;
    publisher.send(testkit::raw::text("windows\r\nmac\runix\n")).await;
    for stream in &mut streams {
        assert_eq!(stream.event().await, event("binary", "/wA="));
        assert_eq!(stream.event().await, event("", "windows\nmac\nunix\n"));
    }
    let label = r#"tidegate_connections{protocol="sse",transport="sse"}"#;
    assert_eq!(fleet.metric(label).await, 2.);
    drop(streams);
    a.wait_for_metric(label, 0.).await;
    b.wait_for_metric(label, 0.).await;
}

async fn an_event_stream_resumed_on_another_node_gets_each_publication_once(broker: Broker) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let mut stream = EventStream::open(a, "/sse/h:1").await;
    stream.read_until(|stream| !stream.last_id.is_empty()).await;
    let begin = stream.last_id.clone();
    publish_all(b, "h:1", 1..=3).await;
    let third = receive_all(&mut stream, 1..=3).await;
    drop(stream);
    publish_all(a, "h:1", 4..=6).await;

    // The query resumes from the position before the first publication.
    let mut from_header = EventStream::open_after(b, "/sse/h:1", &third).await;
    let path = format!("/sse/h:1?last_event_id={begin}");
    let mut from_query = EventStream::open(b, &path).await;
    // A browser that reconnects sends the header, and the old position in the URL.
    let mut from_both = EventStream::open_after(a, &path, &third).await;
    receive_all(&mut from_query, 1..=3).await;
    for stream in [&mut from_header, &mut from_query, &mut from_both] {
        receive_all(stream, 4..=6).await;
    }
    publish_all(a, "h:1", 7..=7).await;
    for stream in [&mut from_header, &mut from_query, &mut from_both] {
        receive_all(stream, 7..=7).await;
    }
}

async fn an_event_stream_resumed_from_an_unrecoverable_position_begins_with_a_gap(broker: Broker) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    publish_all(a, "h:1", 1..=1).await;
    for (path, last_id) in [("/sse/h:1", "1-1"), ("/sse/h:1?last_event_id=1-1", "")] {
        let mut stream = EventStream::open_after(b, path, last_id).await;
        assert_gap(&stream.event().await, "h:1", "not_recovered");
        assert_ne!(stream.last_id, "1-1", "the stream carries a new position to resume from");
    }
    let mut stream = EventStream::open_after(a, "/sse/news", "1-1").await;
    assert_gap(&stream.event().await, "news", "not_recovered");
}

fn assert_gap(event: &SseEvent, channel: &str, reason: &str) {
    assert_eq!(event.name, "gap");
    let expected = serde_json::json!({ "type": "gap", "channel": channel, "reason": reason });
    assert_eq!(event.json(), expected);
}

#[tokio::test]
async fn a_redis_interruption_causes_a_gap_event_only_on_channels_without_history() {
    let fleet = Fleet::redis(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let mut kept = EventStream::open(a, "/sse/h:1").await;
    let mut news = EventStream::open(a, "/sse/news").await;
    publish_all(b, "h:1", 1..=2).await;
    receive_all(&mut kept, 1..=2).await;
    assert!(fleet.server().kill_subscribers().await > 0);
    assert_gap(&news.event().await, "news", testkit::GAP_REASON);
    publish_all(b, "h:1", 3..=4).await;
    receive_all(&mut kept, 3..=4).await;
}

#[tokio::test]
async fn an_idle_event_stream_gets_comments_their_interval_and_a_retry_time() {
    let node =
        Node::standalone(&["session.ping_interval=100ms", "session.pong_timeout=100ms"]).await;
    let mut stream = EventStream::open(&node, "/sse/news").await;
    stream.read_until(|stream| stream.comments >= 5).await;
    assert_eq!(stream.ping_interval_ms, Some(100));
    let retry = stream.retry.expect("the stream sends a retry time");
    assert!((1000..3000).contains(&retry), "{retry}");
    let mut publisher = Client::plain(&node, "news").await;
    publisher.send("still here").await;
    assert_eq!(stream.event().await, event("", "still here"));
}
