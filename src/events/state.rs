//! What sessions and the task that writes share.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::local_events::LocalEvents;
use crate::publication::NodeId;

pub struct EventsState {
    local: Mutex<LocalEvents>,
    /// Notified when there is something to write.
    pub changed: Notify,
    /// How far the node has stopped.
    pub stop: watch::Sender<StopStage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopStage {
    Running,
    Stopping,
    Stopped,
}

impl EventsState {
    /// `grace`: how long an item without holders is still held.
    pub fn new(node: NodeId, grace: Duration) -> Self {
        Self {
            local: Mutex::new(LocalEvents::new(node, grace)),
            changed: Notify::new(),
            stop: watch::Sender::new(StopStage::Running),
        }
    }

    pub fn local(&self) -> MutexGuard<'_, LocalEvents> {
        self.local.lock().expect("no code panics while it holds this lock")
    }
}
