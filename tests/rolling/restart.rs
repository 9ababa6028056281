//! One node drains and a new one replaces it, under traffic.

use std::time::Duration;

use testkit::curve::{Curve, peak};
use testkit::downtime::quantile;
use tokio::time::sleep;

use crate::fleet::NODES;
use crate::sampling::{NodeSamples, Sampling};
use crate::stage::Stage;

/// The time with traffic before a node drains.
const CALM: Duration = Duration::from_millis(500);

/// The longest that clients may take to be subscribed again after the node exited.
const RESUBSCRIBE_TIME_MAX: Duration = Duration::from_secs(60);

/// The result of one restart.
pub struct Restart {
    /// The number of the node, from 0.
    pub node: usize,
    /// The connections of the node before the drain.
    pub connections: usize,
    /// The time from SIGTERM to its exit.
    pub exited_after: Duration,
    /// The time from SIGTERM until the load balancer sent clients to the new node.
    pub replaced_after: Duration,
    /// The time from SIGTERM until every client was subscribed again.
    pub resubscribed_after: Duration,
    /// The other nodes, with their numbers.
    pub survivors: Vec<(usize, NodeSamples)>,
    /// The times given by `after_ms`.
    pub advised: Curve,
    /// The times of the reconnects, on all nodes.
    pub reconnected: Curve,
    /// The delay of the reconnects after the given times, p99.
    pub lateness: Duration,
}

impl Restart {
    /// Fails if the node exits late or with an error, or if clients are not subscribed again in time.
    pub async fn run(node: usize, stage: &mut Stage) -> Result<Self, String> {
        sleep(CALM).await;
        let connections = stage.balancer.connections(node).await;
        let others = (0..NODES).filter(|it| *it != node);
        let sampling = Sampling::start(others.clone().map(|it| stage.fleet.addresses[it].1));
        let started = sampling.started;
        stage.fleet.terminate(node);
        let exited_after = stage.fleet.wait_for_exit(node).await?;
        stage.fleet.replace(node).await;
        stage.balancer.wait_until_up(node).await;
        let replaced_after = started.elapsed();
        // Clients with a long `after_ms` may still be disconnected.
        if !stage.clients.wait_until_subscribed(RESUBSCRIBE_TIME_MAX).await {
            return Err(format!(
                "some clients are not subscribed again after node {} exited",
                node + 1
            ));
        }
        let resubscribed_after = started.elapsed();
        let survivors = others.zip(sampling.end().await).collect();
        let reconnects = stage.clients.counters.reconnects_since(started);
        let due =
            Curve::from_timestamps(reconnects.iter().map(|it| it.due.duration_since(started)));
        let opened =
            Curve::from_timestamps(reconnects.iter().map(|it| it.open.duration_since(started)));
        let mut delays: Vec<_> =
            reconnects.iter().map(|it| it.open.duration_since(it.due)).collect();
        delays.sort();
        let lateness = quantile(&delays, 0.99);
        Ok(Self {
            node,
            connections,
            exited_after,
            replaced_after,
            resubscribed_after,
            survivors,
            advised: due,
            reconnected: opened,
            lateness,
        })
    }

    /// The most clients in one second: by the times given by `after_ms`, by the times of the reconnects, and by
    /// the counters of the survivors together.
    pub fn peaks(&self) -> [f64; 3] {
        let survivors: Vec<_> = self.survivors.iter().map(|(_, it)| it.opened()).collect();
        let of = |curve| peak(std::slice::from_ref(curve)).0;
        [of(&self.advised), of(&self.reconnected), peak(&survivors).0]
    }
}
