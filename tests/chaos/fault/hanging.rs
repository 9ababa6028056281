//! A process is stopped with SIGSTOP: connections stay open and get no replies.

use std::time::Instant;

use testkit::process::Signal;

use crate::stage::Stage;

/// Stops Redis for longer than the nodes' timeouts.
pub async fn redis(stage: &mut Stage) -> Instant {
    let started = Instant::now();
    stage.backend.single_server().freeze();
    stage.fleet.wait_until_unready(&[0, 1, 2]).await;
    let rest = stage.length.outage().saturating_sub(started.elapsed());
    stage.run_for(rest).await;
    stage.backend.single_server().thaw();
    Instant::now()
}

/// Stops a node: some of its clients reconnect elsewhere, some are still connected when it continues.
pub async fn node(stage: &mut Stage) -> Instant {
    stage.fleet.nodes[stage.victim].signal(Signal::STOP);
    stage.run_for(stage.length.outage()).await;
    stage.fleet.nodes[stage.victim].signal(Signal::CONT);
    Instant::now()
}
