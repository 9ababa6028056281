//! Faults of Redis: a crash, full memory, flushed functions, closed subscriptions.

use std::time::{Duration, Instant};

use crate::stage::Stage;

const AWAY: Duration = Duration::from_secs(2);
const FULL: Duration = Duration::from_secs(3);
/// The pause between two commands.
const AGAIN_AFTER: Duration = Duration::from_millis(700);
const TIMES: usize = 3;

/// A crash; Redis restarts with its persisted data.
pub async fn killed(stage: &mut Stage) -> Instant {
    stage.backend.alone().kill();
    stage.run_for(AWAY).await;
    stage.backend.alone().run().await;
    Instant::now()
}

/// Redis refuses writes for a while.
pub async fn full(stage: &mut Stage) -> Instant {
    limit_memory(stage, "1").await;
    stage.run_for(FULL).await;
    limit_memory(stage, "0").await;
    Instant::now()
}

async fn limit_memory(stage: &Stage, bytes: &str) {
    for redis in stage.backend.servers() {
        let _: () = redis.query(&["CONFIG", "SET", "maxmemory", bytes]).await;
    }
}

/// Removes the functions that nodes installed.
pub async fn functions_flushed(stage: &mut Stage) -> Instant {
    for _ in 0..TIMES {
        for redis in stage.backend.masters().await {
            let _: () = redis.query(&["FUNCTION", "FLUSH"]).await;
        }
        stage.run_for(AGAIN_AFTER).await;
    }
    Instant::now()
}

/// Closes every subscribed connection.
pub async fn subscribers_cut(stage: &mut Stage) -> Instant {
    let mut cut = 0;
    for _ in 0..TIMES {
        for redis in stage.backend.servers() {
            cut += redis.kill_subscribers().await;
        }
        stage.run_for(AGAIN_AFTER).await;
    }
    assert!(cut > 0, "no connection was subscribed");
    Instant::now()
}
