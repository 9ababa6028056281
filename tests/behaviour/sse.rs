//! `GET /sse/{channel}`: a channel as Server-Sent Events.

mod access;
mod end;

use testkit::client::Client;
use testkit::event_stream::{EventStream, SseEvent};
use testkit::fleet::{Broker, Fleet, for_every_broker};
use testkit::node::Node;
use testkit::raw::{BINARY, FIN, RawClient, frame};

for_every_broker!(
    a_publication_is_an_event_as_it_is,
    a_client_that_comes_back_elsewhere_misses_nothing_and_gets_nothing_twice,
    a_position_that_is_gone_is_a_gap,
);

const HISTORY: &str = r#"rules=[{pattern="h:*",history={size=10,age="10m"}},{pattern="**"}]"#;

/// An event of a channel without history.
fn event(name: &str, data: &str) -> SseEvent {
    SseEvent { name: name.to_owned(), data: data.to_owned(), id: String::new() }
}

/// Has a service publish these on a channel with history, one after the other.
async fn publish_all(node: &Node, channel: &str, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        let path = format!("/api/publish/{channel}");
        let answer = node.post(&path, &[], number.to_string().as_bytes()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
}

/// The next publications are these; the place of the last.
async fn hears_all(stream: &mut EventStream, numbers: std::ops::RangeInclusive<u32>) -> String {
    for number in numbers {
        let event = stream.event().await;
        assert_eq!((event.name.as_str(), event.data), ("", number.to_string()));
        assert!(!event.id.is_empty(), "a channel with history has positions");
    }
    stream.last_id.clone()
}

async fn a_publication_is_an_event_as_it_is(broker: Broker) {
    let fleet = broker.fleet(&[]).await;
    let [a, b] = fleet.nodes();
    let mut streams =
        [EventStream::open(a, "/sse/news").await, EventStream::open(b, "/sse/news").await];
    let mut publisher = RawClient::open(b, "/ws/news").await;
    let json = r#"{"b":1.0, "a":"ü"}"#;
    for payload in [json, "", " two\nlines", "last"] {
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

async fn a_client_that_comes_back_elsewhere_misses_nothing_and_gets_nothing_twice(broker: Broker) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let mut stream = EventStream::open(a, "/sse/h:1").await;
    stream.read_until(|stream| !stream.last_id.is_empty()).await;
    let begin = stream.last_id.clone();
    publish_all(b, "h:1", 1..=3).await;
    let third = hears_all(&mut stream, 1..=3).await;
    drop(stream);
    publish_all(a, "h:1", 4..=6).await;

    // From the position before the first publication too.
    let mut from_header = EventStream::open_after(b, "/sse/h:1", &third).await;
    let path = format!("/sse/h:1?last_event_id={begin}");
    let mut from_query = EventStream::open(b, &path).await;
    // A browser that comes back by itself has an old address.
    let mut from_both = EventStream::open_after(a, &path, &third).await;
    hears_all(&mut from_query, 1..=3).await;
    for stream in [&mut from_header, &mut from_query, &mut from_both] {
        hears_all(stream, 4..=6).await;
    }
    publish_all(a, "h:1", 7..=7).await;
    for stream in [&mut from_header, &mut from_query, &mut from_both] {
        hears_all(stream, 7..=7).await;
    }
}

async fn a_position_that_is_gone_is_a_gap(broker: Broker) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    publish_all(a, "h:1", 1..=1).await;
    for (path, last_id) in [("/sse/h:1", "1-1"), ("/sse/h:1?last_event_id=1-1", "")] {
        let mut stream = EventStream::open_after(b, path, last_id).await;
        is_gap(&stream.event().await, "h:1", "not_recovered");
        assert_ne!(stream.last_id, "1-1", "the next time it goes on from here");
    }
    let mut stream = EventStream::open_after(a, "/sse/news", "1-1").await;
    is_gap(&stream.event().await, "news", "not_recovered");
}

fn is_gap(event: &SseEvent, channel: &str, reason: &str) {
    assert_eq!(event.name, "gap");
    let wanted = serde_json::json!({ "type": "gap", "channel": channel, "reason": reason });
    assert_eq!(event.json(), wanted);
}

#[tokio::test]
async fn an_interruption_is_a_gap_without_history_and_none_with_it() {
    let fleet = Fleet::redis(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let mut kept = EventStream::open(a, "/sse/h:1").await;
    let mut news = EventStream::open(a, "/sse/news").await;
    publish_all(b, "h:1", 1..=2).await;
    hears_all(&mut kept, 1..=2).await;
    assert!(fleet.server().kill_subscribers().await > 0);
    is_gap(&news.event().await, "news", testkit::GAP_REASON);
    publish_all(b, "h:1", 3..=4).await;
    hears_all(&mut kept, 3..=4).await;
}

#[tokio::test]
async fn a_comment_keeps_an_idle_stream_alive_and_retry_is_said_first() {
    let node =
        Node::standalone(&["session.ping_interval=100ms", "session.pong_timeout=100ms"]).await;
    let mut stream = EventStream::open(&node, "/sse/news").await;
    stream.read_until(|stream| stream.comments >= 5).await;
    let retry = stream.retry.expect("how long to wait before coming back");
    assert!((1000..3000).contains(&retry), "{retry}");
    let mut publisher = Client::plain(&node, "news").await;
    publisher.send("still here").await;
    assert_eq!(stream.event().await, event("", "still here"));
}
