//! What a node has to tell the backend: the items that it holds, its sessions, and accepted publications. No I/O: takes
//! what sessions report, returns batches.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::{
    EVENT_CHANGES_MAX, EventBatch, EventChange, EventEdges, EventItem, PublishedEvent,
};
use crate::publication::{NodeId, SessionId, User, UserInfo};
use crate::telemetry;

/// Most publications that are queued, each with up to 1 KiB of payload.
pub const PUBLISHED_MAX: usize = 10_000;

/// Most sessions that have ended and whose end is not yet written.
pub const ENDED_MAX: usize = 50_000;

/// Entries of the queue that may be obsolete without being removed.
const OBSOLETE_MAX: usize = 1000;

/// The state behind a node's events. Its memory is proportional to the node's subscriptions and sessions, and to the
/// two limits.
pub struct LocalEvents {
    node: NodeId,
    grace: Duration,
    items: HashMap<EventItem, HeldItem>,
    /// Items without holders that are still in their grace period, by its end.
    in_grace: BTreeSet<(Instant, EventItem)>,
    sessions: HashMap<u64, SessionEntry>,
    /// How many of the sessions have ended.
    ended: usize,
    queue: VecDeque<QueuedChange>,
    /// How many publications are in the queue.
    published: usize,
    /// How many items and sessions in the queue are obsolete.
    obsolete: usize,
    /// How many changes were ever taken from the queue.
    taken: u64,
    batch: u64,
    generation: u64,
    /// The next batch begins the generation.
    begins: bool,
    /// Earlier generations may be swept once so many changes were taken.
    sweep_after: Option<u64>,
    /// Ends of sessions were dropped that the broker has: it must be told all sessions again.
    has_lost_ends: bool,
}

/// Each item and each session is at most once in the queue.
enum QueuedChange {
    Item(EventItem),
    Session(u64),
    Published(Arc<PublishedEvent>),
}

struct HeldItem {
    holders: u32,
    grace_ends_at: Option<Instant>,
    edges: EventEdges,
    info: Option<UserInfo>,
    /// Whether a batch says that the node holds it.
    is_written: bool,
    is_queued: bool,
}

struct SessionEntry {
    user: User,
    /// Why it has ended.
    ended: Option<&'static str>,
    /// Whether a batch says that the session is connected as this user.
    is_written: bool,
    /// Whether any batch says that the session is connected.
    is_known: bool,
    is_queued: bool,
}

impl HeldItem {
    fn is_held(&self) -> bool {
        self.holders > 0 || self.grace_ends_at.is_some()
    }
}

impl LocalEvents {
    /// `grace`: how long an item without holders is still held.
    pub fn new(node: NodeId, grace: Duration) -> Self {
        Self {
            node,
            grace,
            items: HashMap::new(),
            in_grace: BTreeSet::new(),
            sessions: HashMap::new(),
            ended: 0,
            queue: VecDeque::new(),
            published: 0,
            obsolete: 0,
            taken: 0,
            batch: 0,
            generation: 1,
            begins: true,
            sweep_after: None,
            has_lost_ends: false,
        }
    }

    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Adds a holder of the item.
    pub fn hold(&mut self, item: &EventItem, edges: EventEdges, info: Option<&UserInfo>) {
        let held = self.items.entry(item.clone()).or_insert_with(|| HeldItem {
            holders: 0,
            grace_ends_at: None,
            edges,
            info: None,
            is_written: false,
            is_queued: false,
        });
        held.holders += 1;
        held.edges = edges;
        held.info = UserInfo::newer(held.info.take(), info.cloned());
        if let Some(end) = held.grace_ends_at.take() {
            self.in_grace.remove(&(end, item.clone()));
        }
        self.queue_item(item);
    }

    /// Removes a holder.
    pub fn free(&mut self, item: &EventItem, now: Instant) {
        let Some(held) = self.items.get_mut(item) else { return };
        held.holders = held.holders.saturating_sub(1);
        if held.holders > 0 {
            return;
        }
        if !self.grace.is_zero() {
            let end = now + self.grace;
            held.grace_ends_at = Some(end);
            self.in_grace.insert((end, item.clone()));
        }
        self.queue_item(item);
    }

    pub fn connect(&mut self, session: u64, user: User) {
        let entry = SessionEntry {
            user,
            ended: None,
            is_written: false,
            is_known: false,
            is_queued: false,
        };
        self.sessions.insert(session, entry);
        self.queue_session(session);
    }

    /// The session has another user.
    pub fn set_user(&mut self, session: u64, user: &User) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        if entry.user != *user {
            entry.user.clone_from(user);
            entry.is_written = false;
            self.queue_session(session);
        }
    }

    /// The session has ended. Beyond [`ENDED_MAX`] its end is not reported.
    pub fn disconnect(&mut self, session: u64, reason: &'static str) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        if self.ended >= ENDED_MAX {
            self.has_lost_ends |= entry.is_known;
            let was_queued = entry.is_queued;
            self.sessions.remove(&session);
            self.forget_queued(was_queued);
            telemetry::event_dropped(telemetry::DroppedEvent::Disconnected);
            return;
        }
        entry.ended = Some(reason);
        self.ended += 1;
        self.queue_session(session);
    }

    /// Queues a publication, unless [`PUBLISHED_MAX`] are queued.
    pub fn publish(&mut self, event: PublishedEvent) {
        if self.published >= PUBLISHED_MAX {
            telemetry::event_dropped(telemetry::DroppedEvent::Published);
            return;
        }
        self.published += 1;
        self.queue.push_back(QueuedChange::Published(Arc::new(event)));
    }

    /// How many changes are queued.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// When the next item's grace period ends.
    pub fn next_grace_end(&self) -> Option<Instant> {
        self.in_grace.first().map(|(end, _)| *end)
    }

    /// The generation if the broker may now sweep earlier ones.
    pub fn sweep_due(&self) -> Option<u64> {
        self.sweep_after.filter(|after| self.taken >= *after).map(|_| self.generation)
    }

    /// Earlier generations are swept.
    pub fn swept(&mut self, generation: u64) {
        if self.generation == generation {
            self.sweep_after = None;
        }
    }

    /// The next batch. The caller writes it until the broker has it, or [refuses](Self::refused) it. None: there is
    /// nothing to write.
    pub fn take_batch(&mut self, now: Instant) -> Option<EventBatch> {
        self.end_graces(now);
        let mut changes = Vec::new();
        // A session may take two.
        while changes.len() + 1 < EVENT_CHANGES_MAX
            && let Some(change) = self.queue.pop_front()
        {
            self.taken += 1;
            match change {
                QueuedChange::Item(item) => changes.extend(self.take_item(item)),
                QueuedChange::Session(session) => self.take_session(session, &mut changes),
                QueuedChange::Published(event) => {
                    self.published -= 1;
                    changes.push(EventChange::Published(event));
                }
            }
        }
        if self.queue.is_empty() {
            // An outage may have made it large.
            self.queue = VecDeque::new();
        }
        let begins = std::mem::take(&mut self.begins);
        (begins || !changes.is_empty()).then(|| {
            self.batch += 1;
            EventBatch { number: self.batch, generation: self.generation, begins, changes }
        })
    }

    /// The broker does not know the node's earlier batches: begins a generation, in which all is written again.
    pub fn restart(&mut self) {
        self.generation += 1;
        self.begins = true;
        self.has_lost_ends = false;
        let items: Vec<_> = self
            .items
            .iter_mut()
            .map(|(item, held)| {
                held.is_written = false;
                item.clone()
            })
            .collect();
        items.iter().for_each(|item| self.queue_item(item));
        let sessions: Vec<_> = self
            .sessions
            .iter_mut()
            .map(|(session, entry)| {
                entry.is_written = false;
                *session
            })
            .collect();
        sessions.into_iter().for_each(|session| self.queue_session(session));
        self.sweep_after = Some(self.taken + self.queue.len() as u64);
    }

    /// The broker refused the batch: it becomes the first of a new generation.
    pub fn refused(&mut self, batch: EventBatch) -> EventBatch {
        self.restart();
        let begins = std::mem::take(&mut self.begins);
        EventBatch { generation: self.generation, begins, ..batch }
    }

    /// Begins a generation if ends of sessions were dropped; the sweep then tells of them.
    pub fn restart_if_ends_are_lost(&mut self) {
        if self.has_lost_ends {
            self.restart();
        }
    }

    fn queue_item(&mut self, item: &EventItem) {
        let Some(held) = self.items.get_mut(item) else { return };
        let (is_held, was_queued) = (held.is_held(), held.is_queued);
        if !is_held && !held.is_written {
            // The broker never had it.
            self.items.remove(item);
            self.forget_queued(was_queued);
        } else if is_held != held.is_written && !was_queued {
            held.is_queued = true;
            self.queue.push_back(QueuedChange::Item(item.clone()));
        }
    }

    /// What was dropped is still in the queue. Removes all such entries once they are the larger part, so that the
    /// queue is bounded during an outage while clients come and go.
    fn forget_queued(&mut self, was_queued: bool) {
        self.obsolete += usize::from(was_queued);
        if self.obsolete <= OBSOLETE_MAX.max(self.queue.len() / 2) {
            return;
        }
        let Self { queue, items, sessions, .. } = self;
        queue.retain(|change| match change {
            QueuedChange::Item(item) => items.get(item).is_some_and(|held| held.is_queued),
            QueuedChange::Session(session) => sessions.contains_key(session),
            QueuedChange::Published(_) => true,
        });
        self.obsolete = 0;
        if self.sweep_after.is_some() {
            self.sweep_after = Some(self.taken + self.queue.len() as u64);
        }
    }

    fn queue_session(&mut self, session: u64) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        if !entry.is_queued {
            entry.is_queued = true;
            self.queue.push_back(QueuedChange::Session(session));
        }
    }

    fn take_item(&mut self, item: EventItem) -> Option<EventChange> {
        // An item that was dropped and came again may be in the queue twice.
        let held = self.items.get_mut(&item).filter(|held| held.is_queued)?;
        held.is_queued = false;
        let (is_held, is_written) = (held.is_held(), held.is_written);
        held.is_written = is_held;
        let edges = held.edges;
        let info = held.info.clone();
        if !is_held {
            self.items.remove(&item);
        }
        match (is_held, is_written) {
            (true, false) => Some(EventChange::Hold { item, edges, info }),
            (false, true) => Some(EventChange::Free { item, edges }),
            _ => None,
        }
    }

    fn take_session(&mut self, number: u64, changes: &mut Vec<EventChange>) {
        let Some(entry) = self.sessions.get_mut(&number) else { return };
        entry.is_queued = false;
        let session = SessionId { node: self.node, number };
        if !entry.is_written {
            (entry.is_written, entry.is_known) = (true, true);
            changes.push(EventChange::Connected { session, user: entry.user.clone() });
        }
        if let Some(reason) = entry.ended {
            changes.push(EventChange::Disconnected { session, reason });
            self.sessions.remove(&number);
            self.ended -= 1;
        }
    }

    fn end_graces(&mut self, now: Instant) {
        while let Some((end, _)) = self.in_grace.first()
            && *end <= now
        {
            let Some((_, item)) = self.in_grace.pop_first() else { return };
            if let Some(held) = self.items.get_mut(&item) {
                held.grace_ends_at = None;
            }
            self.queue_item(&item);
        }
    }
}

#[cfg(test)]
mod tests;
