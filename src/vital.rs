//! Tasks that a node cannot do without. A panic in one of them would leave a node that looks alive
//! and is deaf; ending the process lets whatever watches it start another.

use crate::telemetry;

/// Spawns a task on the current runtime; its panic ends the process.
pub fn spawn(name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    let task = tokio::spawn(task);
    tokio::spawn(async move {
        if task.await.is_err_and(|error| error.is_panic()) {
            telemetry::vital_task_panicked(name);
            std::process::abort();
        }
    });
}
