//! Waits for a condition that may not become true; the caller reports the failure.

use std::time::Duration;

use tokio::time::{sleep, timeout};

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Whether the condition became true in time.
pub async fn wait_until(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let polling = async {
        while !condition() {
            sleep(POLL_INTERVAL).await;
        }
    };
    timeout(time, polling).await.is_ok()
}
