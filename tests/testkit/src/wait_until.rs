//! Waiting for a condition that may not come, which is then for the caller to name.

use std::time::Duration;

use tokio::time::{sleep, timeout};

const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Whether it came to be so in time.
pub async fn wait_until(time: Duration, mut so: impl FnMut() -> bool) -> bool {
    let looking = async {
        while !so() {
            sleep(LOOK_INTERVAL).await;
        }
    };
    timeout(time, looking).await.is_ok()
}
