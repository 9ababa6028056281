//! Faults of Redis: a crash, full memory, flushed functions, closed subscriptions.

use std::time::{Duration, Instant};

use crate::stage::Stage;

/// The time for which Redis does not run.
const DOWNTIME: Duration = Duration::from_secs(2);
/// The time for which Redis refuses writes.
const FULL_TIME: Duration = Duration::from_secs(3);
/// The pause between two commands.
const REPEAT_PAUSE: Duration = Duration::from_millis(700);
/// How often a command is sent.
const REPEATS: usize = 3;

/// A crash; Redis restarts with its persisted data.
pub async fn killed(stage: &mut Stage) -> Instant {
    stage.backend.single_server().kill();
    stage.run_for(DOWNTIME).await;
    stage.backend.single_server().run().await;
    Instant::now()
}

/// Redis refuses writes for a while.
pub async fn full(stage: &mut Stage) -> Instant {
    limit_memory(stage, "1").await;
    stage.run_for(FULL_TIME).await;
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
    for _ in 0..REPEATS {
        for redis in stage.backend.masters().await {
            let _: () = redis.query(&["FUNCTION", "FLUSH"]).await;
        }
        stage.run_for(REPEAT_PAUSE).await;
    }
    Instant::now()
}

/// Closes every subscribed connection.
pub async fn subscribers_cut(stage: &mut Stage) -> Instant {
    let mut cut = 0;
    for _ in 0..REPEATS {
        for redis in stage.backend.servers() {
            cut += redis.kill_subscribers().await;
        }
        stage.run_for(REPEAT_PAUSE).await;
    }
    assert!(cut > 0, "no connection was subscribed");
    Instant::now()
}
