//! Packets between nodes and Redis are lost without a notification.

use std::time::Instant;

use crate::stage::Stage;

/// One node is partitioned; the others continue publishing, and it misses their publications.
pub async fn one(stage: &mut Stage) -> Instant {
    cut(stage, &[stage.victim]).await
}

pub async fn all(stage: &mut Stage) -> Instant {
    cut(stage, &[0, 1, 2]).await
}

async fn cut(stage: &Stage, nodes: &[usize]) -> Instant {
    let started = Instant::now();
    nodes.iter().for_each(|node| stage.backend.network().cut(*node));
    stage.fleet.wait_until_unready(nodes).await;
    stage.run_for(stage.length.outage().saturating_sub(started.elapsed())).await;
    nodes.iter().for_each(|node| stage.backend.network().restore(*node));
    Instant::now()
}
