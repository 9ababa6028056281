//! `limits.memory_max`: near it nobody new comes in, above it those leave for whom the most is kept.

use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::raw::{BINARY, FIN, Raw, frame, upgrade};

use super::{answer, is_refused};

const RESIDENT: &str = "process_resident_memory_bytes";
const SHED: &str = r#"tidegate_connections_closed_total{reason="overloaded"}"#;
const OWED: &str = "tidegate_outbound_queue_bytes";
/// Less owed than before by so much: some were shed. Nothing else brings it down here.
const OWED_DROP_BYTES: f64 = 10e6;

const REFUSED: &str = r#"tidegate_rejected_total{reason="memory"}"#;

/// What the node may use beyond what it does when idle.
const ROOM_MIB: usize = 160;

/// Subscribers that do not read.
const SLOW: usize = 12;

/// Large enough for a piece of memory of its own: smaller ones lie together, and those that are freed
/// come back with the last of their neighbours.
const PAYLOAD_BYTES: usize = 800 << 10;

/// Far more than there is room for.
const ROUNDS_MAX: usize = 2000;

/// A node that may use so many MiB more than one that idles, and how many bytes that is.
async fn node_with_room(mib: usize) -> (Node, f64) {
    let idle = Node::alone(&[]).await.metric(RESIDENT).await;
    let max = (idle as usize >> 20) + mib;
    let memory_max = format!("limits.memory_max={max}MiB");
    // Those that do not read do not answer pings either.
    let settings = [
        &memory_max,
        "session.message_bytes_max=1MiB",
        "session.queue_bytes_max=1GiB",
        "session.pong_timeout=10m",
    ];
    let node = Node::alone(&settings).await;
    node.metric_becomes("tidegate_memory_max_bytes", (max << 20) as f64).await;
    (node, (max << 20) as f64)
}

/// Publishes until connections are shed, to the first half of the channels twice as often as to the
/// others. Meanwhile the node stays below its ceiling, serves a healthy client, and refuses others.
async fn flood(node: &Node, max: f64, channels: &[String]) {
    let mut healthy = Client::plain(node, "healthy").await;
    let mut publishers = Vec::new();
    for channel in channels {
        publishers.push(Raw::open(node, &format!("/ws/{channel}?echo=false")).await);
    }
    let often = channels.len().div_ceil(2);
    let mut turns = (0..often).chain(0..channels.len()).cycle();
    let payload = frame(FIN | BINARY, &vec![b'x'; PAYLOAD_BYTES]);
    let (mut was_refused, mut was_shed, mut owed_before) = (false, false, 0.);
    for round in 0..ROUNDS_MAX {
        if !was_shed {
            let turn = turns.next().expect("it is a cycle");
            publishers[turn].send(&payload).await;
        }
        healthy.say("still here").await;
        assert_eq!(healthy.hears_text().await, "still here");
        let resident = node.metric(RESIDENT).await;
        assert!(resident < max, "{resident} of {max} in round {round}");
        // Counted they are when they have ended, dropped what they are owed is at once.
        let owed = node.metric(OWED).await;
        was_shed |= owed_before - owed > OWED_DROP_BYTES;
        owed_before = owed;
        if !node.is_ready().await {
            let response = answer(node, upgrade("/ws/news", "")).await;
            if response.status != 101 {
                is_refused(&response, 503, "limit_reached");
                was_refused = true;
            }
        } else {
            assert!(!was_shed || was_refused, "nobody was refused before the node was ready again");
        }
        if was_shed && was_refused {
            assert!(node.metric(REFUSED).await >= 1.);
            healthy.close().await;
            return;
        }
    }
    panic!("nobody has been shed");
}

#[tokio::test]
async fn those_for_whom_the_most_is_kept_leave_and_the_node_lives_on() {
    let (node, max) = node_with_room(ROOM_MIB).await;
    let channels: Vec<_> = (0..SLOW).map(|number| format!("slow-{number}")).collect();
    let mut slow = Vec::new();
    for channel in &channels {
        slow.push(Raw::narrow(&node, &format!("/ws/{channel}")).await);
    }
    flood(&node, max, &channels).await;
    node.becomes_ready().await;
    let shed = eventually("those that were shed to be gone", async || {
        let shed = node.metric(SHED).await;
        let left = node.metric("tidegate_connections").await;
        (shed > 0. && left == SLOW as f64 - shed).then_some(shed)
    })
    .await;
    assert!(shed <= (SLOW / 2) as f64, "{shed} of {SLOW} were shed");
    // Those that owed less are still there.
    let left = node.get("/api/channels").await.text();
    for channel in &channels[SLOW / 2..] {
        assert!(left.contains(&format!("\"{channel}\"")), "{channel} owed less: {left}");
    }
}

/// They all owe the same bytes, which come back with the last of them.
#[tokio::test]
async fn subscribers_of_one_channel_leave_until_it_helps() {
    let (node, max) = node_with_room(ROOM_MIB).await;
    let mut slow = Vec::new();
    for _ in 0..4 * SLOW {
        slow.push(Raw::narrow(&node, "/ws/slow").await);
    }
    flood(&node, max, &["slow".to_owned()]).await;
    node.becomes_ready().await;
    Client::plain(&node, "news").await.close().await;
}
