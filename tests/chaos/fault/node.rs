//! Nodes exit after a crash or a drain.

use std::time::{Duration, Instant};

use testkit::process::Signal;

use crate::stage::Stage;

/// The time until the crashed node is replaced.
const DOWNTIME: Duration = Duration::from_secs(1);

pub async fn killed(stage: &mut Stage) -> Instant {
    stage.fleet.nodes[stage.victim].process.kill();
    stage.run_for(DOWNTIME).await;
    stage.fleet.replace(stage.victim).await;
    Instant::now()
}

/// A rollout: for each node a new one starts, then the old one drains.
pub async fn rolled(stage: &mut Stage) -> Instant {
    for number in 0..stage.fleet.nodes.len() {
        let mut old = stage.fleet.replace(number).await;
        old.signal(Signal::TERM);
        let code = old.process.exit_code().await;
        assert_eq!(code, 0, "a drained node exits with 0");
    }
    Instant::now()
}
