//! What is to be read from history. Work goes in where the hub finds that something is missing; one task
//! takes it out.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::publication::Channel;

/// How often it was tried in vain.
pub type Tries = u32;

/// Something to be read. At most one of each kind for a channel at a time, by its tail.
#[derive(Clone, Debug)]
pub enum RecoveryTask {
    /// Where does the history end? And then, what follows the last publication?
    Open(Channel, u64, Tries),
    /// What follows the last publication?
    CatchUp(Channel, u64, Tries),
    /// What was held may go.
    Release(Channel, u64),
    /// All that is there, for those who resume.
    Load(Channel),
}

/// What is still to be done. As long as there are channels at most, twice over.
#[derive(Default)]
pub struct RecoveryQueue {
    work: Mutex<VecDeque<RecoveryTask>>,
    more: Notify,
}

impl RecoveryQueue {
    pub fn add(&self, work: RecoveryTask) {
        self.lock().push_back(work);
        self.more.notify_one();
    }

    /// Waits for some work, and takes at most `count_max` pieces of it.
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
            self.more.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<RecoveryTask>> {
        self.work.lock().expect("no code panics while it holds the recovery queue's lock")
    }
}
