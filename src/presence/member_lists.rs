//! Lists of members that are read for many sessions at a time: when a thousand sessions join a channel, its members are
//! read a few times and not a thousand times.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::broker::Unavailable;
use crate::protocol::SharedMembers;
use crate::publication::Channel;

/// How long a change that a list contains may come after it.
pub const LATE_MAX: Duration = Duration::from_secs(5);

/// The most members of all lists that are kept for late changes, of all channels.
const KEPT_MEMBERS_MAX: usize = 100_000;

/// The list, or why it cannot be read.
pub type MembersRead = Result<Arc<SharedMembers>, Unavailable>;

/// The sessions that wait for a list, by channel: each at most once. A channel is here while a task reads its members.
#[derive(Default)]
pub struct MemberLists {
    waiting: Mutex<HashMap<Channel, Vec<oneshot::Sender<MembersRead>>>>,
    recent: Mutex<RecentLists>,
}

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

    /// Keeps a list for `LATE_MAX`: sessions tell by it which changes come late.
    pub fn keep(&self, list: Arc<SharedMembers>, now: Instant) {
        self.recent().keep(list, now);
    }

    /// Drops the lists that have been kept for long enough.
    pub fn forget_old(&self, now: Instant) {
        self.recent().forget_before(now - LATE_MAX);
    }

    fn recent(&self) -> MutexGuard<'_, RecentLists> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Channel, Vec<oneshot::Sender<MembersRead>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lists of all channels that were read last, from the oldest.
#[derive(Default)]
struct RecentLists {
    lists: VecDeque<(Instant, Arc<SharedMembers>)>,
    /// How many members all of them have.
    members: usize,
}

impl RecentLists {
    fn keep(&mut self, list: Arc<SharedMembers>, now: Instant) {
        self.members += list.members.list.len();
        self.lists.push_back((now, list));
        self.forget_before(now - LATE_MAX);
        while self.members > KEPT_MEMBERS_MAX {
            self.forget_oldest();
        }
    }

    fn forget_before(&mut self, moment: Instant) {
        while self.lists.front().is_some_and(|(read_at, _)| *read_at <= moment) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.lists.pop_front();
        self.members -= oldest.map_or(0, |(_, list)| list.members.list.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::{Member, Members};

    fn list(count: usize) -> Arc<SharedMembers> {
        let member = Member { user: None, sessions: 1, info: None };
        Arc::new(SharedMembers::new(Members { list: vec![member; count], truncated: false }))
    }

    #[tokio::test(start_paused = true)]
    async fn lists_are_kept_for_late_changes_up_to_the_bounds_of_time_and_members() {
        let lists = MemberLists::default();
        let started = Instant::now();
        let keep = |count, at| {
            let list = list(count);
            lists.keep(list.clone(), at);
            Arc::downgrade(&list)
        };
        let (first, second) = (keep(1, started), keep(2, started + LATE_MAX / 2));
        lists.forget_old(started + LATE_MAX);
        assert_eq!((first.strong_count(), second.strong_count()), (0, 1));
        let third = keep(KEPT_MEMBERS_MAX - 2, started + LATE_MAX);
        assert_eq!((second.strong_count(), third.strong_count()), (1, 1));
        let fourth = keep(1, started + LATE_MAX);
        assert_eq!((second.strong_count(), third.strong_count()), (0, 1));
        lists.forget_old(started + LATE_MAX * 2);
        assert_eq!((third.strong_count(), fourth.strong_count()), (0, 0));
    }
}
