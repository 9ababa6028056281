//! A channel's subscribers: iterated over without a lock, added and removed at low cost even among 100,000.

use std::sync::{Arc, Weak};

use crate::outbound::Outbound;
use crate::protocol::Format;

/// One session's subscription to one channel.
#[derive(Clone)]
pub struct Subscriber {
    pub outbound: Arc<Outbound>,
    pub format: Format,
    /// Whether it gets its own session's publications.
    pub echo: bool,
    /// Whether a gap closes its connection, because its protocol has no message for one.
    pub closes_on_gap: bool,
    /// Whether it gets private publications.
    pub reads_private: bool,
}

/// The subscribers in the order in which they were added.
///
/// Removal finds a subscriber by number and leaves a free slot; the list is compacted when half of its slots
/// are free. A delivery iterates over a shared snapshot; adding or removing during a delivery copies the
/// list, at most once per delivery.
pub struct Subscribers<S = Subscriber> {
    /// Sorted by number, because numbers only grow.
    slots: Arc<Vec<SubscriberSlot<S>>>,
    free_slots: usize,
    /// Earlier lists that were in delivery when they were copied. Boxed, because few channels ever have any.
    earlier_lists: Option<EarlierLists<S>>,
}

/// One word, because few channels have any.
type EarlierLists<S> = Box<Vec<Weak<Vec<SubscriberSlot<S>>>>>;

#[derive(Clone)]
struct SubscriberSlot<S> {
    number: u64,
    /// None: the slot is free.
    subscriber: Option<S>,
}

impl<S> Default for Subscribers<S> {
    fn default() -> Self {
        Self { slots: Arc::default(), free_slots: 0, earlier_lists: None }
    }
}

impl<S: Clone> Subscribers<S> {
    pub fn len(&self) -> usize {
        self.slots.len() - self.free_slots
    }

    pub fn add(&mut self, number: u64, subscriber: S) {
        let slots = self.slots_mut();
        debug_assert!(slots.last().is_none_or(|last| last.number < number));
        if slots.is_empty() {
            // Most channels have one subscriber; a vector's first growth would allocate room for four.
            slots.reserve_exact(1);
        }
        slots.push(SubscriberSlot { number, subscriber: Some(subscriber) });
    }

    pub fn get(&self, number: u64) -> Option<&S> {
        let at = self.slots.binary_search_by_key(&number, |slot| slot.number).ok()?;
        self.slots[at].subscriber.as_ref()
    }

    /// Removes the subscription with exactly this number, if it exists.
    pub fn remove(&mut self, number: u64) -> Option<S> {
        let at = self.slots.binary_search_by_key(&number, |slot| slot.number).ok()?;
        let removed = self.slots_mut()[at].subscriber.take()?;
        self.free_slots += 1;
        if self.free_slots * 2 > self.slots.len() {
            let slots = self.slots_mut();
            slots.retain(|slot| slot.subscriber.is_some());
            slots.shrink_to(slots.len() * 2);
            self.free_slots = 0;
        }
        Some(removed)
    }

    /// Whether a publication is being delivered to them.
    pub fn is_in_delivery(&self) -> bool {
        let mut earlier = self.earlier_lists.iter().flat_map(|earlier| earlier.iter());
        Arc::strong_count(&self.slots) > 1 || earlier.any(|list| list.strong_count() > 0)
    }

    /// The list to change: a copy if a delivery uses the current one.
    fn slots_mut(&mut self) -> &mut Vec<SubscriberSlot<S>> {
        if let Some(earlier) = &mut self.earlier_lists {
            earlier.retain(|list| list.strong_count() > 0);
            if earlier.is_empty() {
                self.earlier_lists = None;
            }
        }
        if Arc::strong_count(&self.slots) > 1 {
            self.earlier_lists.get_or_insert_default().push(Arc::downgrade(&self.slots));
        }
        Arc::make_mut(&mut self.slots)
    }

    pub fn snapshot(&self) -> Snapshot<S> {
        Snapshot(self.slots.clone())
    }
}

impl Subscribers {
    /// Sets whether the subscriber with this number gets private publications.
    pub fn set_reads_private(&mut self, number: u64, reads_private: bool) {
        let is_set = |subscriber: &Subscriber| subscriber.reads_private == reads_private;
        if self.get(number).is_none_or(is_set) {
            return;
        }
        let slots = self.slots_mut();
        if let Ok(at) = slots.binary_search_by_key(&number, |slot| slot.number)
            && let Some(subscriber) = &mut slots[at].subscriber
        {
            subscriber.reads_private = reads_private;
        }
    }
}

/// The subscribers at one moment.
pub struct Snapshot<S = Subscriber>(Arc<Vec<SubscriberSlot<S>>>);

impl<S> Snapshot<S> {
    /// The number of slots, free ones included.
    pub fn slots(&self) -> usize {
        self.0.len()
    }

    /// The subscribers, each with the number of its subscription.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &S)> {
        self.0.iter().filter_map(|slot| Some((slot.number, slot.subscriber.as_ref()?)))
    }

    /// Whether the subscription with this number is among them.
    pub fn contains(&self, number: u64) -> bool {
        let at = self.0.binary_search_by_key(&number, |slot| slot.number);
        at.is_ok_and(|at| self.0[at].subscriber.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::{NodeId, SessionId};

    #[test]
    fn subscribers_are_in_delivery_until_the_last_snapshot_is_dropped_even_after_changes() {
        let session = SessionId { node: NodeId::random(), number: 1 };
        let outbound = Arc::new(Outbound::new(session, 1000));
        let subscriber = Subscriber {
            outbound,
            format: Format::Plain,
            echo: true,
            closes_on_gap: false,
            reads_private: true,
        };
        let mut subscribers = Subscribers::default();
        subscribers.add(1, subscriber.clone());
        assert!(!subscribers.is_in_delivery());
        let first = subscribers.snapshot();
        subscribers.add(2, subscriber.clone());
        let second = subscribers.snapshot();
        subscribers.remove(1);
        drop(second);
        assert!(subscribers.is_in_delivery(), "the first snapshot still exists");
        subscribers.add(3, subscriber);
        drop(first);
        assert!(!subscribers.is_in_delivery());
        assert_eq!(subscribers.snapshot().numbered().count(), 2);
    }
}
