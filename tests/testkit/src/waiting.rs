//! Waiting for a condition, within a bound that only ends what hangs.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// The longest wait for anything. Far beyond what a busy machine needs: it ends only what hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a condition is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Looks until there is something to see.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {what}");
        sleep(LOOK_INTERVAL).await;
    }
}

/// Waits for what comes by itself.
pub async fn soon<T>(what: &str, coming: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, coming).await {
        Ok(come) => come,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}
