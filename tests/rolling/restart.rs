//! One node leaves, and another takes its place, under traffic.

use std::time::Duration;

use testkit::curve::{Curve, peak};
use testkit::downtime::quantile;
use tokio::time::sleep;

use crate::fleet::NODES;
use crate::stage::Stage;
use crate::watch::{Watch, Watched};

/// The flow before a node leaves.
const CALM: Duration = Duration::from_millis(500);

/// The longest that clients may take to be back after their node has left.
const RETURN_MAX: Duration = Duration::from_secs(60);

/// What came of it.
pub struct Restart {
    /// By number, from 0.
    pub node: usize,
    /// Connections it had.
    pub held: usize,
    /// From SIGTERM to its end.
    pub left: Duration,
    /// From SIGTERM until the balancer sent clients to the new one.
    pub replaced: Duration,
    /// From SIGTERM until every client was subscribed again.
    pub whole: Duration,
    /// The other nodes, with their numbers.
    pub survivors: Vec<(usize, Watched)>,
    /// When clients were told to be back.
    pub advised: Curve,
    /// When they were, on whichever node.
    pub reconnected: Curve,
    /// How much later than told nearly all were.
    pub lateness: Duration,
}

impl Restart {
    /// Fails where the node leaves late or with a fault, or clients do not come back.
    pub async fn run(node: usize, stage: &mut Stage) -> Result<Self, String> {
        sleep(CALM).await;
        let held = stage.balancer.connections(node).await;
        let others = (0..NODES).filter(|it| *it != node);
        let watch = Watch::over(others.clone().map(|it| stage.fleet.addresses[it].1));
        let begun = watch.begun;
        stage.fleet.terminate(node);
        let left = stage.fleet.wait_for_exit(node).await?;
        stage.fleet.replace(node).await;
        stage.balancer.wait_until_up(node).await;
        let replaced = begun.elapsed();
        // Who was told to be patient may still be away.
        if !stage.crowd.wait_until_subscribed(RETURN_MAX).await {
            return Err(format!("some clients are not back after node {} has left", node + 1));
        }
        let whole = begun.elapsed();
        let survivors = others.zip(watch.end().await).collect();
        let returns = stage.crowd.tally.returns_since(begun);
        let told = Curve::from_timestamps(returns.iter().map(|it| it.due.duration_since(begun)));
        let back = Curve::from_timestamps(returns.iter().map(|it| it.open.duration_since(begun)));
        let mut late: Vec<_> = returns.iter().map(|it| it.open.duration_since(it.due)).collect();
        late.sort();
        let late = quantile(&late, 0.99);
        Ok(Self {
            node,
            held,
            left,
            replaced,
            whole,
            survivors,
            advised: told,
            reconnected: back,
            lateness: late,
        })
    }

    /// Most clients of a second: that were told to be back, that were, and that the survivors together
    /// counted.
    pub fn peaks(&self) -> [f64; 3] {
        let survivors: Vec<_> = self.survivors.iter().map(|(_, it)| it.opened()).collect();
        let of = |curve| peak(std::slice::from_ref(curve)).0;
        [of(&self.advised), of(&self.reconnected), peak(&survivors).0]
    }
}
