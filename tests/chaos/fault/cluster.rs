//! A shard's master crashes, or its slots move.

use std::time::Instant;

use crate::stage::Stage;

/// A crash. Recovery is measured from the time when all servers know the new master.
pub async fn master_killed(stage: &mut Stage) -> Instant {
    let channel = stage.channels[0].name.clone();
    let cluster = stage.backend.cluster();
    let old = cluster.master_of(&channel).await;
    cluster.servers[old].kill();
    cluster.wait_for_failover(old, &channel).await;
    Instant::now()
}

/// Restarts the old master as a replica.
pub async fn restart_old_master(stage: &mut Stage) {
    let cluster = stage.backend.cluster();
    let old = cluster.servers.iter_mut().find(|it| !it.is_running());
    old.expect("a master was killed").run().await;
    cluster.wait_until_complete().await;
}

/// The slot of every channel moves to another master.
pub async fn slots_moved(stage: &mut Stage) -> Instant {
    let channels = stage.channels.clone();
    let cluster = stage.backend.cluster();
    for channel in channels.iter() {
        let (owner, masters) = (cluster.master_of(&channel.name).await, cluster.masters().await);
        let index = masters.iter().position(|it| *it == owner).expect("an owner is a master");
        cluster.migrate(&channel.name, masters[(index + 1) % masters.len()]).await;
    }
    Instant::now()
}
