//! Reads from history: what a channel has missed, and what resuming clients ask for.
//!
//! One task takes the work from the [`RecoveryQueue`](super::recovery_queue::RecoveryQueue); the reading itself
//! is done by a bounded number of tasks. A channel is read by one of them at a time.

mod catch_up;
mod load;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::interval;

use self::catch_up::CatchUp;
use super::recovery_queue::RecoveryTask;
use super::registry::Registry;
use crate::broker::Broker;
use crate::critical_tasks;

/// Most pieces of work that are taken at once, and so most channels in one question for positions.
const BATCH_MAX: usize = 500;

/// Most questions for positions, and most channels that are read, at the same time.
const READS_MAX: usize = 8;

/// How often it is looked for what is no longer worth its memory.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Starts the tasks, which run as long as the runtime.
pub fn start(registry: Arc<Registry>, broker: Arc<dyn Broker>) {
    let catch_up = CatchUp { registry: registry.clone(), broker };
    critical_tasks::spawn("recovery", async move {
        let reads = Arc::new(Semaphore::new(READS_MAX));
        loop {
            let work = catch_up.registry.recovery_queue.next(BATCH_MAX).await;
            dispatch(&catch_up, work, &reads);
        }
    });
    critical_tasks::spawn("history sweep", async move {
        let mut sweep = interval(SWEEP_INTERVAL);
        loop {
            sweep.tick().await;
            registry.channels.sweep();
        }
    });
}

/// Gives each piece of work a task of its own; the ends of histories are asked for together.
fn dispatch(catch_up: &CatchUp, work: Vec<RecoveryTask>, reads: &Arc<Semaphore>) {
    let mut open = Vec::new();
    for work in work {
        let catch_up = catch_up.clone();
        match work {
            RecoveryTask::Open(channel, reading, tries) => open.push((channel, reading, tries)),
            RecoveryTask::CatchUp(channel, reading, tries) => {
                spawn(reads, async move { catch_up.catch_up(channel, reading, tries).await });
            }
            RecoveryTask::Release(channel, reading) => {
                spawn(reads, async move { catch_up.release(channel, reading) });
            }
            RecoveryTask::Load(channel) => spawn(reads, async move {
                load::load(&catch_up.registry, &*catch_up.broker, channel).await;
            }),
        }
    }
    if !open.is_empty() {
        let catch_up = catch_up.clone();
        spawn(reads, async move { catch_up.open(open).await });
    }
}

/// Runs a piece of work once fewer than [`READS_MAX`] run.
fn spawn(reads: &Arc<Semaphore>, work: impl Future<Output = ()> + Send + 'static) {
    let reads = reads.clone();
    // A channel whose reading breaks off says nothing any more.
    critical_tasks::spawn("catching up", async move {
        let _permit = reads.acquire_owned().await.expect("the semaphore is never closed");
        work.await;
    });
}
