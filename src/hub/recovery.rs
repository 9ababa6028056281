//! Reads from history what channels have missed and what resuming clients request.
//!
//! One task takes tasks from the [`RecoveryQueue`](super::recovery_queue::RecoveryQueue); a bounded number of
//! further tasks read. At most one of them reads a channel at a time.

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

/// Most recovery tasks taken at once, and so most channels in one request for positions.
const BATCH_MAX: usize = 500;

/// Most concurrent reads, requests for positions included.
const READS_MAX: usize = 8;

/// How often unused recent publications are dropped.
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

/// Spawns a task for each recovery task; requests for history ends share one.
fn dispatch(catch_up: &CatchUp, work: Vec<RecoveryTask>, reads: &Arc<Semaphore>) {
    let mut open = Vec::new();
    for work in work {
        let catch_up = catch_up.clone();
        match work {
            RecoveryTask::Open(channel, read_number, tries) => {
                open.push((channel, read_number, tries));
            }
            RecoveryTask::CatchUp(channel, read_number, tries) => {
                spawn(reads, async move { catch_up.catch_up(channel, read_number, tries).await });
            }
            RecoveryTask::Release(channel, read_number) => {
                spawn(reads, async move { catch_up.release(channel, read_number) });
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

/// Runs a recovery task once fewer than [`READS_MAX`] run.
fn spawn(reads: &Arc<Semaphore>, work: impl Future<Output = ()> + Send + 'static) {
    let reads = reads.clone();
    // Critical, because a channel whose read dies would deliver nothing any more.
    critical_tasks::spawn("catching up", async move {
        let _permit = reads.acquire_owned().await.expect("the semaphore is never closed");
        work.await;
    });
}
