//! The master is gone, and Sentinel makes another.

use std::time::Instant;

use testkit::redis::Redis;

use crate::stage::Stage;

/// A crash. Recovery counts from the moment that all sentinels know the new master.
pub async fn master_killed(stage: &mut Stage) -> Instant {
    let sentinel = stage.backend.sentinel();
    let old = sentinel.master().await;
    sentinel.servers[old].kill();
    sentinel.wait_for_failover(old).await;
    Instant::now()
}

/// The old master comes back as a replica.
pub async fn restart_old_master(stage: &mut Stage) {
    let sentinel = stage.backend.sentinel();
    let old = sentinel.servers.iter().position(|it| !it.is_running());
    sentinel.restart_as_replica(old.expect("one was killed")).await;
    sentinel.wait_until_complete().await;
}

/// It stands still, and believes to be master when it goes on.
pub async fn master_hangs(stage: &mut Stage) -> Instant {
    let sentinel = stage.backend.sentinel();
    let old = sentinel.master().await;
    sentinel.servers[old].freeze();
    sentinel.wait_for_failover(old).await;
    Instant::now()
}

/// Two masters for a moment, until Sentinel tells the old one.
pub async fn thaw(stage: &mut Stage) {
    stage.run_for(stage.length.outage()).await;
    let sentinel = stage.backend.sentinel();
    // Those that run on are not harmed by it.
    sentinel.servers.iter().for_each(Redis::thaw);
    sentinel.wait_until_complete().await;
}
