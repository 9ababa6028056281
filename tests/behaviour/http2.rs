//! HTTP/2 on the public listener: requests, event streams, and WebSockets by extended CONNECT (RFC 8441).

mod curl;
mod drain;
mod flow_control;
mod limits;
mod refused;
mod tls;

use h2::client::Builder;
use serde_json::Value;
use testkit::client::{Client, publication};
use testkit::event_stream::EventStream;
use testkit::fleet::{Broker, for_every_broker};
use testkit::http2::Http2Client;
use testkit::node::Node;

for_every_broker!(
    sessions_on_one_http_2_connection_exchange_publications_with_those_on_http_1,
    an_event_stream_resumed_on_http_2_gets_each_publication_once,
);

/// Sessions on HTTP/2.
const SSE: &str = r#"tidegate_http2_sessions{protocol="sse",transport="sse"}"#;
const JSON: &str = r#"tidegate_http2_sessions{protocol="json",transport="websocket"}"#;
const PLAIN: &str = r#"tidegate_http2_sessions{protocol="plain",transport="websocket"}"#;

async fn sessions_on_one_http_2_connection_exchange_publications_with_those_on_http_1(
    broker: Broker,
) {
    let fleet = broker.fleet(&[]).await;
    let [a, b] = fleet.nodes();
    let mut http2 = Http2Client::connect(a).await;
    let mut plain = http2.websocket("/ws/news").await;
    let mut json = http2.websocket("/ws").await.with_welcome().await;
    let mut events = http2.event_stream("/sse/news").await;
    json.subscribe("news").await;
    let mut http1 = Client::plain(b, "news").await;

    http1.send("\"from HTTP/1.1\"").await;
    plain.send("\"from HTTP/2\"").await;
    let expected = ["\"from HTTP/1.1\"", "\"from HTTP/2\""];
    for _ in expected {
        let payload = plain.receive_text().await;
        assert!(expected.contains(&payload.as_str()), "{payload}");
        assert_eq!(events.event().await.data, payload);
        let data: Value = serde_json::from_str(&payload).expect("json");
        assert_eq!(json.event().await, publication("news", data));
    }
    for _ in expected {
        let payload = http1.receive_text().await;
        assert!(expected.contains(&payload.as_str()), "{payload}");
    }
    for (metric, value) in [(SSE, 1.), (JSON, 1.), (PLAIN, 1.)] {
        assert_eq!(a.metric(metric).await, value, "{metric}");
    }
    assert_eq!(a.metric("tidegate_http2_connections").await, 1.);
    plain.close().await;
    drop(events);
    a.wait_for_metric(SSE, 0.).await;
    a.wait_for_metric(PLAIN, 0.).await;
    assert_eq!(a.metric(JSON).await, 1.);
    drop((json, http2));
    a.wait_for_metric("tidegate_http2_connections", 0.).await;
    a.wait_for_metric(JSON, 0.).await;
}

async fn an_event_stream_resumed_on_http_2_gets_each_publication_once(broker: Broker) {
    let history = r#"rules=[{pattern="h:*",history={size=10,age="10m"}},{pattern="**"}]"#;
    let fleet = broker.fleet(&[history]).await;
    let [a, b] = fleet.nodes();
    let mut stream = EventStream::open(a, "/sse/h:1").await;
    stream.read_until(|stream| !stream.last_id.is_empty()).await;
    let begin = stream.last_id.clone();
    for number in 1..=4 {
        let path = "/api/publish/h:1";
        assert_eq!(b.post(path, &[], number.to_string().as_bytes()).await.status, 202);
    }
    let mut http2 = Http2Client::connect(b).await;
    let path = format!("/sse/h:1?last_event_id={begin}");
    let mut resumed = http2.event_stream(&path).await;
    for number in 1..=4 {
        assert_eq!(resumed.event().await.data, number.to_string());
    }
    a.post("/api/publish/h:1", &[], b"5").await;
    assert_eq!(resumed.event().await.data, "5");
}

#[tokio::test]
async fn a_hundred_streams_of_one_connection_each_get_every_publication() {
    let node = Node::standalone(&[]).await;
    // The client's bound for small DATA frames that it has not read grows with its window.
    let mut builder = Builder::new();
    builder.initial_connection_window_size(4 << 20);
    let mut http2 = Http2Client::with(&node, &builder).await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(http2.event_stream("/sse/news").await);
    }
    assert_eq!(node.metric(SSE).await, 100.);
    for number in 0..50 {
        node.post("/api/publish/news", &[], number.to_string().as_bytes()).await;
        for stream in &mut streams {
            assert_eq!(stream.event().await.data, number.to_string());
        }
    }
}

#[tokio::test]
async fn large_messages_are_relayed_over_http_2_in_both_directions() {
    let settings = ["session.message_bytes_max=4MiB", "session.queue_bytes_max=16MiB"];
    let node = Node::standalone(&settings).await;
    let mut http2 = Http2Client::connect(&node).await;
    let mut a = http2.websocket("/ws/news").await;
    let mut b = http2.websocket("/ws/news").await;
    let payload: Vec<u8> = (0..3 << 20).map(|at| (at % 251) as u8).collect();
    for _ in 0..3 {
        a.send(payload.clone()).await;
        let (to_a, to_b) = tokio::join!(a.receive(), b.receive());
        assert_eq!(to_a.into_data(), payload);
        assert_eq!(to_b.into_data(), payload);
    }
}

#[tokio::test]
async fn the_demo_page_is_the_same_over_http_2_and_its_head_has_no_body() {
    let node = Node::standalone(&["demo=true"]).await;
    let over_1 = testkit::http::get(node.public, "/").await;
    let mut http2 = Http2Client::connect(&node).await;
    let over_2 = http2.get("/").await;
    assert_eq!((over_2.status, &over_2.body), (200, &over_1.body));
    let length = over_1.body.len().to_string();
    assert_eq!(over_2.header("content-length"), Some(length.as_str()));
    assert!(over_2.header("date").is_some() && over_2.header("connection").is_none());
    let request = http2.request("HEAD", "/").body(()).expect("a valid request");
    let head = http2.answer(request, b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(length.as_str()));
}

#[tokio::test]
async fn the_end_of_a_stream_without_a_close_frame_ends_only_its_session() {
    let node = Node::standalone(&[]).await;
    let mut http2 = Http2Client::connect(&node).await;
    let (_, mut ended) = http2.try_websocket("/ws/news", &[]).await.expect("it is accepted");
    let mut other = http2.websocket("/ws/news").await;
    node.wait_for_metric(PLAIN, 2.).await;
    ended.send.send_data(Default::default(), true).expect("the stream ends");
    node.wait_for_metric(PLAIN, 1.).await;
    other.send("still here").await;
    assert_eq!(other.receive_text().await, "still here");
}
