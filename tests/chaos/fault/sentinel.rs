//! The master fails, and Sentinel promotes a replica.

use std::time::Instant;

use testkit::redis::Redis;

use crate::stage::Stage;

/// A crash. Recovery is measured from the time when all sentinels know the new master.
pub async fn master_killed(stage: &mut Stage) -> Instant {
    let sentinel = stage.backend.sentinel();
    let old = sentinel.master().await;
    sentinel.servers[old].kill();
    sentinel.wait_for_failover(old).await;
    Instant::now()
}

/// Restarts the old master as a replica.
pub async fn restart_old_master(stage: &mut Stage) {
    let sentinel = stage.backend.sentinel();
    let old = sentinel.servers.iter().position(|it| !it.is_running());
    sentinel.restart_as_replica(old.expect("a master was killed")).await;
    sentinel.wait_until_complete().await;
}

/// The master is stopped, and still acts as master when it continues.
pub async fn master_hangs(stage: &mut Stage) -> Instant {
    let sentinel = stage.backend.sentinel();
    let old = sentinel.master().await;
    sentinel.servers[old].freeze();
    sentinel.wait_for_failover(old).await;
    Instant::now()
}

/// Two masters for a moment, until Sentinel demotes the old one.
pub async fn thaw(stage: &mut Stage) {
    stage.run_for(stage.length.outage()).await;
    let sentinel = stage.backend.sentinel();
    // SIGCONT does not affect the running servers.
    sentinel.servers.iter().for_each(Redis::thaw);
    sentinel.wait_until_complete().await;
}
