//! `limits.memory_max`: near it, the node refuses new connections; above it, the node closes those with the most queued
//! bytes.

use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::raw::{BINARY, FIN, RawClient, frame, upgrade};

use super::{answer, assert_refused};

const RESIDENT: &str = "process_resident_memory_bytes";
const SHED: &str = r#"tidegate_connections_closed_total{reason="overloaded"}"#;
const QUEUED: &str = "tidegate_outbound_queue_bytes";
/// A drop of the queued bytes by this much shows that connections were shed; nothing else reduces them here.
const QUEUED_DROP_BYTES: f64 = 10e6;

const REFUSED: &str = r#"tidegate_rejected_total{reason="memory"}"#;

/// The memory that the node may use beyond that of an idle one.
const HEADROOM_MIB: usize = 160;

/// Subscribers that do not read.
const SLOW: usize = 12;

/// Large enough for a memory mapping of its own: the allocator returns smaller blocks to the system only when their
/// neighbours are free too.
const PAYLOAD_BYTES: usize = 800 << 10;

/// Far more rounds than fit into `HEADROOM_MIB`.
const ROUNDS_MAX: usize = 2000;

/// A node that may use `mib` MiB more than an idle one, and its `memory_max` in bytes.
async fn node_with_headroom(mib: usize) -> (Node, f64) {
    let idle = Node::standalone(&[]).await.metric(RESIDENT).await;
    let max = (idle as usize >> 20) + mib;
    let memory_max = format!("limits.memory_max={max}MiB");
    // Subscribers that do not read do not answer pings either.
    let settings = [
        &memory_max,
        "session.message_bytes_max=1MiB",
        "session.queue_bytes_max=1GiB",
        "session.pong_timeout=10m",
    ];
    let node = Node::standalone(&settings).await;
    node.wait_for_metric("tidegate_memory_max_bytes", (max << 20) as f64).await;
    (node, (max << 20) as f64)
}

/// Publishes until connections are shed, to the first half of the channels twice as often as to the
/// others. Meanwhile the node stays below `max` bytes, serves a healthy client, and refuses new connections.
async fn flood(node: &Node, max: f64, channels: &[String]) {
    let mut healthy = Client::plain(node, "healthy").await;
    let mut publishers = Vec::new();
    for channel in channels {
        publishers.push(RawClient::open(node, &format!("/ws/{channel}?echo=false")).await);
    }
    let often = channels.len().div_ceil(2);
    let mut turns = (0..often).chain(0..channels.len()).cycle();
    let payload = frame(FIN | BINARY, &vec![b'x'; PAYLOAD_BYTES]);
    let (mut was_refused, mut was_shed, mut queued_before) = (false, false, 0.);
    for round in 0..ROUNDS_MAX {
        if !was_shed {
            let turn = turns.next().expect("it is a cycle");
            publishers[turn].send(&payload).await;
        }
        healthy.send("still here").await;
        assert_eq!(healthy.receive_text().await, "still here");
        let resident = node.metric(RESIDENT).await;
        assert!(resident < max, "{resident} of {max} in round {round}");
        // The node frees the queue of a shed connection at once, and counts the connection when it has ended.
        let queued = node.metric(QUEUED).await;
        was_shed |= queued_before - queued > QUEUED_DROP_BYTES;
        queued_before = queued;
        if !node.is_ready().await {
            let response = answer(node, upgrade("/ws/news", "")).await;
            if response.status != 101 {
                assert_refused(&response, 503, "limit_reached");
                was_refused = true;
            }
        } else {
            assert!(
                !was_shed || was_refused,
                "no connection was refused before the node was ready again"
            );
        }
        if was_shed && was_refused {
            assert!(node.metric(REFUSED).await >= 1.);
            healthy.close().await;
            return;
        }
    }
    panic!("no connection was shed");
}

#[tokio::test]
async fn above_memory_max_the_node_closes_the_connections_with_the_most_queued_bytes() {
    let (node, max) = node_with_headroom(HEADROOM_MIB).await;
    let channels: Vec<_> = (0..SLOW).map(|number| format!("slow-{number}")).collect();
    let mut slow = Vec::new();
    for channel in &channels {
        slow.push(RawClient::with_small_buffer(&node, &format!("/ws/{channel}")).await);
    }
    flood(&node, max, &channels).await;
    node.wait_until_ready().await;
    let shed = eventually("the shed connections to be closed", async || {
        let shed = node.metric(SHED).await;
        let left = node.metric("tidegate_connections").await;
        (shed > 0. && left == SLOW as f64 - shed).then_some(shed)
    })
    .await;
    assert!(shed <= (SLOW / 2) as f64, "{shed} of {SLOW} were shed");
    // The connections with fewer queued bytes are still open.
    let left = node.get("/api/channels").await.text();
    for channel in &channels[SLOW / 2..] {
        assert!(
            left.contains(&format!("\"{channel}\"")),
            "{channel} had fewer queued bytes: {left}"
        );
    }
}

/// The subscribers' queues share the payloads, whose memory is freed with the last of the closed connections.
#[tokio::test]
async fn above_memory_max_the_node_closes_subscribers_of_one_channel_until_memory_is_freed() {
    let (node, max) = node_with_headroom(HEADROOM_MIB).await;
    let mut slow = Vec::new();
    for _ in 0..4 * SLOW {
        slow.push(RawClient::with_small_buffer(&node, "/ws/slow").await);
    }
    flood(&node, max, &["slow".to_owned()]).await;
    node.wait_until_ready().await;
    Client::plain(&node, "news").await.close().await;
}
