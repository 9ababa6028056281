//! Lists of members that are read for many sessions at a time: when a thousand sessions join a channel, its members are
//! read a few times and not a thousand times.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::broker::Unavailable;
use crate::protocol::SharedMembers;
use crate::publication::Channel;

/// The list, or why it cannot be read.
pub type MembersRead = Result<Arc<SharedMembers>, Unavailable>;

/// The sessions that wait for a list, by channel: each at most once. A channel is here while a task reads its members.
#[derive(Default)]
pub struct MemberLists(Mutex<HashMap<Channel, Vec<oneshot::Sender<MembersRead>>>>);

impl MemberLists {
    /// Adds a session to those that get the next list that is read. Returns whether the caller must start the task.
    pub fn wait(&self, channel: &Channel) -> (oneshot::Receiver<MembersRead>, bool) {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        let starts = !waiting.contains_key(channel);
        waiting.entry(channel.clone()).or_default().push(sender);
        (receiver, starts)
    }

    /// Takes the sessions that get the list which the task reads now. None: there are none, and the task has ended.
    pub fn take(&self, channel: &Channel) -> Option<Vec<oneshot::Sender<MembersRead>>> {
        let mut waiting = self.lock();
        let senders = waiting.get_mut(channel).map(std::mem::take).unwrap_or_default();
        if senders.is_empty() {
            waiting.remove(channel);
            return None;
        }
        Some(senders)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Channel, Vec<oneshot::Sender<MembersRead>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
