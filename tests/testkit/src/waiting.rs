//! Waits for a condition, with a timeout that only ends tests that hang.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// The longest wait for anything, far longer than a busy machine needs.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How often a condition is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Polls until `poll` returns a value.
pub async fn eventually<T>(what: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(seen) = poll().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {TIMEOUT:?} in vain for {what}");
        sleep(POLL_INTERVAL).await;
    }
}

/// Waits for a future.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(TIMEOUT, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {TIMEOUT:?} in vain for {what}"),
    }
}
