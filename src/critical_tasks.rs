//! Tasks that a node cannot work without. After a panic in one of them, the node would look alive but do nothing;
//! ending the process lets its supervisor start another.

use tokio::task::AbortHandle;

use crate::telemetry;

/// Spawns a task on the current runtime. A panic in it ends the process.
pub fn spawn(name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    let guard = CriticalTask(name);
    let task = tokio::spawn(async move {
        let _guard = guard;
        task.await;
    });
    task.abort_handle()
}

struct CriticalTask(&'static str);

impl Drop for CriticalTask {
    fn drop(&mut self) {
        if std::thread::panicking() {
            telemetry::critical_task_panicked(self.0);
            telemetry::flush_log();
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const ABORTED: i32 = 6;

    #[test]
    fn a_panic_in_a_critical_task_ends_the_process() {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--ignored", "--exact", "critical_tasks::tests::panics"]);
        assert_eq!(again.output().unwrap().status.signal(), Some(ABORTED));
    }

    #[tokio::test]
    #[ignore = "ends its process"]
    async fn panics() {
        super::spawn("doomed", async { panic!("as it was told") });
        std::future::pending::<()>().await;
    }

    #[tokio::test]
    async fn aborting_a_critical_task_does_not_end_the_process() {
        let (told, hears) = tokio::sync::oneshot::channel::<()>();
        let ending = super::spawn("patient", async move { drop(hears.await) });
        ending.abort();
        while !ending.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(told.is_closed());
    }
}
