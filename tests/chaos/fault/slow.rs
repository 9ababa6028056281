//! A subscriber or a node does not read while more is sent than the queues hold.

use std::time::Instant;

use testkit::process::Signal;

use crate::stage::Stage;
use crate::subscriber::Subscriber;

const SLOW: &str = r#"tidegate_slow_consumers_total{action="closed"}"#;

/// The number of subscribers that stop reading.
const SUBSCRIBERS: usize = 3;

/// Most bursts; together far more than queues and the system's buffers hold.
const BURSTS_MAX: usize = 300;
const BURST: usize = 50;
const BURST_BYTES: usize = 16 << 10;

/// Redis' output buffer limit for a node that does not read, in bytes, in addition to the system's buffers.
const LIMIT: &str = "pubsub 262144 0 0";
const USUAL_LIMIT: &str = "pubsub 33554432 8388608 60";

/// Subscribers stop reading until their nodes close them with 4008, then continue and reconnect.
pub async fn subscriber(stage: &mut Stage) -> Instant {
    let before = closed(stage).await;
    stage.subscribers[..SUBSCRIBERS].iter().for_each(Subscriber::stop_reading);
    for burst in 0.. {
        if closed(stage).await >= before + SUBSCRIBERS as f64 {
            break;
        }
        assert!(burst < BURSTS_MAX, "subscribers that do not read have still not been closed");
        stage.flood(BURST, BURST_BYTES).await;
    }
    stage.subscribers[..SUBSCRIBERS].iter().for_each(Subscriber::resume_reading);
    Instant::now()
}

async fn closed(stage: &Stage) -> f64 {
    let mut closed = 0.;
    for node in &stage.fleet.nodes {
        closed += node.metric(SLOW).await;
    }
    closed
}

/// A node stops reading until Redis closes its connection, then continues.
pub async fn node(stage: &mut Stage) -> Instant {
    limit(stage, LIMIT).await;
    let before = subscribed(stage).await;
    let victim = stage.flooded_node();
    stage.fleet.nodes[victim].signal(Signal::STOP);
    stage.flood(BURST, BURST_BYTES).await;
    for burst in 0.. {
        if subscribed(stage).await < before {
            break;
        }
        assert!(
            burst < BURSTS_MAX,
            "Redis did not close the connection of a node that does not read"
        );
        stage.flood_without_history(BURST, BURST_BYTES).await;
    }
    limit(stage, USUAL_LIMIT).await;
    stage.fleet.nodes[victim].signal(Signal::CONT);
    Instant::now()
}

async fn limit(stage: &mut Stage, limit: &str) {
    let redis = stage.backend.single_server();
    let _: () = redis.query(&["CONFIG", "SET", "client-output-buffer-limit", limit]).await;
}

/// The number of subscribed connections.
async fn subscribed(stage: &mut Stage) -> usize {
    let list: String =
        stage.backend.single_server().query(&["CLIENT", "LIST", "TYPE", "pubsub"]).await;
    list.lines().count()
}
