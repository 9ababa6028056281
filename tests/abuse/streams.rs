//! Event streams that are not read, and publications that keep more memory than they have bytes.

use testkit::event_stream::EventStream;
use testkit::eventually;
use testkit::raw::RawClient;
use testkit::requester::Requester;

use super::attack_size;
use super::victim::Victim;

const KEPT: &str = r#"rules=[{pattern="kept:*",history={size=10000,age="10m"}},{pattern="**"}]"#;

const RESIDENT: &str = "process_resident_memory_bytes";

/// The backlog is the same for all of them, so the node has it once.
#[tokio::test]
async fn streams_of_several_channels_that_do_not_read_their_backlog_share_its_memory() {
    const PUBLICATIONS: usize = 250;
    const BYTES: usize = 60_000;
    const STREAMS: usize = 60;
    let mut victim = Victim::on_redis(&[KEPT]).await;
    let path = "/sse?channel=kept:1&channel=kept:2";
    let mut stream = EventStream::open(&victim.node, path).await;
    stream.read_until(|stream| !stream.last_id.is_empty()).await;
    let start = stream.last_id.clone();
    drop(stream);
    let mut publisher = Requester::connect(&victim.node).await;
    let payload = vec![b'x'; BYTES];
    for _ in 0..PUBLICATIONS {
        assert_eq!(publisher.post("/publish/kept:1", &payload).await.status, 202);
    }
    let before = victim.node.metric(RESIDENT).await;
    let mut streams = Vec::new();
    for _ in 0..attack_size(STREAMS) {
        let mut raw = RawClient::connect_with_small_buffer(&victim.node).await;
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {start}\r\n\r\n");
        raw.send(head).await;
        streams.push(raw);
    }
    let queued = (attack_size(STREAMS) * PUBLICATIONS * BYTES / 2) as f64;
    eventually("the backlogs are queued", async || {
        let bytes = victim.node.metric("tidegate_outbound_queue_bytes").await;
        (bytes > queued).then_some(())
    })
    .await;
    victim.assert_served().await;
    let taken = victim.node.metric(RESIDENT).await - before;
    assert!(taken < queued / 4., "{taken} bytes of memory for {queued} queued bytes");
    drop((streams, publisher));
    victim.assert_recovered().await;
}

#[tokio::test]
async fn a_posted_publication_keeps_no_more_memory_than_its_payload() {
    let mut victim = Victim::standalone(&[KEPT]).await;
    let padding = "p".repeat(7000);
    let mut publisher = Requester::connect(&victim.node).await;
    for number in 0..attack_size(5000) {
        let path = format!("/publish/kept:{}", number / 5000);
        let answer = publisher.request("POST", &path, &[("X-Padding", &padding)], b"x").await;
        assert_eq!(answer.status, 202, "{answer:?}");
        if number % 1000 == 0 {
            victim.assert_served().await;
        }
    }
    drop(publisher);
    victim.assert_recovered().await;
}
