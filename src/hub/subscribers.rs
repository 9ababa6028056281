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
}

/// The subscribers in the order in which they were added.
///
/// Removal finds a subscriber by number and leaves a free slot; the list is compacted when half of its slots
/// are free. A delivery iterates over a shared snapshot; adding or removing during a delivery copies the
/// list, at most once per delivery.
#[derive(Default)]
pub struct Subscribers {
    /// Sorted by number, because numbers only grow.
    places: Arc<Vec<SubscriberIndex>>,
    holes: usize,
    /// Earlier lists that were in delivery when they were copied. Boxed, because few channels ever have any.
    #[expect(clippy::box_collection, reason = "a channel has one word for it, not three")]
    walked: Option<Box<Vec<Weak<Vec<SubscriberIndex>>>>>,
}

#[derive(Clone)]
struct SubscriberIndex {
    number: u64,
    /// None: the slot is free.
    subscriber: Option<Subscriber>,
}

impl Subscribers {
    pub fn len(&self) -> usize {
        self.places.len() - self.holes
    }

    pub fn add(&mut self, number: u64, subscriber: Subscriber) {
        let places = self.places_mut();
        debug_assert!(places.last().is_none_or(|last| last.number < number));
        if places.is_empty() {
            // Most channels have one subscriber; a vector's first growth would allocate room for four.
            places.reserve_exact(1);
        }
        places.push(SubscriberIndex { number, subscriber: Some(subscriber) });
    }

    /// Removes the subscription with exactly this number, if it exists.
    pub fn remove(&mut self, number: u64) -> Option<Subscriber> {
        let at = self.places.binary_search_by_key(&number, |place| place.number).ok()?;
        let removed = self.places_mut()[at].subscriber.take()?;
        self.holes += 1;
        if self.holes * 2 > self.places.len() {
            let places = self.places_mut();
            places.retain(|place| place.subscriber.is_some());
            places.shrink_to(places.len() * 2);
            self.holes = 0;
        }
        Some(removed)
    }

    /// Whether a publication is being delivered to them.
    pub fn is_walked(&self) -> bool {
        let mut earlier = self.walked.iter().flat_map(|earlier| earlier.iter());
        Arc::strong_count(&self.places) > 1 || earlier.any(|list| list.strong_count() > 0)
    }

    /// The list to change: a copy if a delivery uses the current one.
    fn places_mut(&mut self) -> &mut Vec<SubscriberIndex> {
        if let Some(earlier) = &mut self.walked {
            earlier.retain(|list| list.strong_count() > 0);
            if earlier.is_empty() {
                self.walked = None;
            }
        }
        if Arc::strong_count(&self.places) > 1 {
            self.walked.get_or_insert_default().push(Arc::downgrade(&self.places));
        }
        Arc::make_mut(&mut self.places)
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.places.clone())
    }
}

/// The subscribers at one moment.
pub struct Snapshot(Arc<Vec<SubscriberIndex>>);

impl Snapshot {
    /// The number of slots, free ones included.
    pub fn places(&self) -> usize {
        self.0.len()
    }

    /// The subscribers, each with the number of its subscription.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &Subscriber)> {
        self.0.iter().filter_map(|place| Some((place.number, place.subscriber.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::{NodeId, SessionId};

    #[test]
    fn a_list_is_walked_until_the_last_walk_ends_also_while_others_join_and_leave() {
        let session = SessionId { node: NodeId::random(), number: 1 };
        let outbound = Arc::new(Outbound::new(session, 1000));
        let subscriber =
            Subscriber { outbound, format: Format::Plain, echo: true, closes_on_gap: false };
        let mut subscribers = Subscribers::default();
        subscribers.add(1, subscriber.clone());
        assert!(!subscribers.is_walked());
        let first = subscribers.snapshot();
        subscribers.add(2, subscriber.clone());
        let second = subscribers.snapshot();
        subscribers.remove(1);
        drop(second);
        assert!(subscribers.is_walked(), "the first walk goes on");
        subscribers.add(3, subscriber);
        drop(first);
        assert!(!subscribers.is_walked());
        assert_eq!(subscribers.snapshot().numbered().count(), 2);
    }
}
