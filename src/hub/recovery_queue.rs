//! The queue of channels whose history must be read. The hub adds tasks where it finds that something is
//! missing; one task of [`recovery`](super::recovery) takes them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::publication::Channel;

/// How many attempts have failed.
pub type Attempts = u32;

/// Something to read. At most one of each kind for a channel at a time, which its cursor ensures.
#[derive(Clone, Debug)]
pub enum RecoveryTask {
    /// Request the history's end, then read what follows the last delivered position.
    Open(Channel, u64, Attempts),
    /// Read what follows the last delivered position.
    CatchUp(Channel, u64, Attempts),
    /// Deliver the held publications.
    Release(Channel, u64),
    /// Read the publications that resuming clients request.
    Load(Channel),
}

/// The pending tasks: at most two for each channel.
#[derive(Default)]
pub struct RecoveryQueue {
    tasks: Mutex<VecDeque<RecoveryTask>>,
    task_added: Notify,
}

impl RecoveryQueue {
    pub fn add(&self, work: RecoveryTask) {
        self.lock().push_back(work);
        self.task_added.notify_one();
    }

    /// Waits for tasks and takes at most `count_max` of them.
    pub async fn next(&self, count_max: usize) -> Vec<RecoveryTask> {
        loop {
            let some: Vec<_> = {
                let mut work = self.lock();
                let count = work.len().min(count_max);
                work.drain(..count).collect()
            };
            if !some.is_empty() {
                return some;
            }
            self.task_added.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<RecoveryTask>> {
        self.tasks.lock().expect("no code panics while it holds the recovery queue's lock")
    }
}
