//! WebSocket sessions and event streams over TLS.

use serde_json::json;
use testkit::authority::Authority;
use testkit::client::{Client, Message, publication};
use testkit::event_stream::EventStream;
use testkit::process::Signal;
use testkit::raw::{text, upgrade};
use testkit::soon;
use testkit::tls_client::TlsClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::node;

#[tokio::test]
async fn large_messages_are_relayed_over_tls_in_both_directions() {
    const BYTES: usize = 3 << 20;
    let authority = Authority::create();
    let settings = ["session.message_bytes_max=4MiB", "session.queue_bytes_max=16MiB"];
    let node = node(&authority, &settings).await;
    let trusting = TlsClient::new(&authority);
    let mut client_a = trusting.plain(&node, "news").await;
    let mut client_b = trusting.plain(&node, "news").await;
    let payload: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    for _ in 0..3 {
        client_a.send(payload.clone()).await;
        assert_eq!(client_a.receive().await, Message::binary(payload.clone()));
        assert_eq!(client_b.receive().await, Message::binary(payload.clone()));
    }
}

#[tokio::test]
async fn two_thousand_messages_over_tls_arrive_in_order_at_each_subscriber() {
    let authority = Authority::create();
    let node =
        node(&authority, &["session.queue_bytes_max=16MiB", "limits.publications_per_second=0"])
            .await;
    let trusting = TlsClient::new(&authority);
    let mut publisher = trusting.open(&node, "/ws").await.with_welcome().await;
    let mut subscribers = Vec::new();
    for _ in 0..5 {
        let mut subscriber = trusting.open(&node, "/ws").await.with_welcome().await;
        subscriber.subscribe("news").await;
        subscribers.push(subscriber);
    }
    for number in 0..2000 {
        let data = json!({"number": number, "padding": "x".repeat(number % 700)});
        publisher.send_command(json!({"type": "publish", "channel": "news", "data": data})).await;
    }
    for subscriber in &mut subscribers {
        for number in 0..2000 {
            let data = json!({"number": number, "padding": "x".repeat(number % 700)});
            assert_eq!(subscriber.event().await, publication("news", data));
        }
    }
}

#[tokio::test]
async fn frames_sent_over_tls_right_after_the_upgrade_request_are_published() {
    let authority = Authority::create();
    let node = node(&authority, &[]).await;
    let mut stream = TlsClient::new(&authority).connect(node.public).await;
    let early = [upgrade("/ws/news", "").as_bytes(), &text("early"), &text("frame")].concat();
    stream.write_all(&early).await.expect("the bytes are sent");
    stream.flush().await.expect("the bytes are sent");
    let mut received = Vec::new();
    while !received.ends_with(b"\x81\x05early\x81\x05frame") {
        let read = soon("an answer", stream.read_buf(&mut received)).await.expect("no reset");
        assert!(read > 0, "{:?}", String::from_utf8_lossy(&received));
    }
}

#[tokio::test]
async fn a_slow_consumer_over_tls_is_closed_with_4008_and_delays_no_other() {
    const SLOW: &str = r#"tidegate_slow_consumers_total{action="closed"}"#;
    const PUBLICATIONS_MAX: usize = 4000;
    let authority = Authority::create();
    let node = node(&authority, &["session.queue_bytes_max=64KiB"]).await;
    let trusting = TlsClient::new(&authority);
    let stream = trusting.connect_with_small_buffer(node.public).await;
    let slow = Client::try_over(stream, node.public, "/ws/news").await;
    let mut slow = slow.expect("the upgrade is accepted");
    let mut publisher = trusting.plain(&node, "news").await;
    let payload = |number: usize| format!("{number} {}", "x".repeat(16 << 10));
    let mut sent = 0;
    while node.metric(SLOW).await == 0. {
        for _ in 0..20 {
            publisher.send(payload(sent)).await;
            assert_eq!(publisher.receive_text().await, payload(sent));
            sent += 1;
        }
        assert!(sent < PUBLICATIONS_MAX, "the slow consumer was not closed");
    }
    assert_eq!(u16::from(slow.receive_close().await.code), 4008);
}

#[tokio::test]
async fn a_drain_closes_tls_connections_with_1012() {
    let authority = Authority::create();
    let settings = ["drain.delay=0s", "drain.period=200ms"];
    let mut node = node(&authority, &settings).await;
    let trusting = TlsClient::new(&authority);
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(trusting.plain(&node, "news").await);
    }
    node.signal(Signal::TERM);
    for client in &mut clients {
        assert_eq!(u16::from(client.receive_close().await.code), 1012);
    }
    drop(clients);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn each_event_of_a_stream_over_tls_is_flushed_immediately() {
    let authority = Authority::create();
    let node =
        node(&authority, &["session.ping_interval=200ms", "session.message_bytes_max=1MiB"]).await;
    let stream = TlsClient::new(&authority).connect(node.public).await;
    let mut events = EventStream::over(stream, "/sse/news").await;
    let mut publisher = TlsClient::new(&authority).plain(&node, "news").await;
    for payload in ["one", "two", &"x".repeat(100_000), "last"] {
        publisher.send(payload).await;
        assert_eq!(events.event().await.data, payload);
    }
    events.read_until(|events| events.comments >= 2).await;
}
