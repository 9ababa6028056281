//! The task that delivers joined publications when their time has come.

use std::sync::Arc;
use std::time::Instant;

use super::registry::Registry;
use crate::critical_tasks;

/// Starts the task, which runs as long as the runtime.
pub fn start(registry: Arc<Registry>) {
    critical_tasks::spawn("rollup", async move {
        loop {
            while let Some(channel) = registry.rollup_timers.take_due(Instant::now()) {
                registry.rollups().deliver_due(&channel);
            }
            registry.rollup_timers.wait().await;
        }
    });
}
