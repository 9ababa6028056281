//! A channel's subscribers: cheap to walk without a lock, cheap to join and to leave even when
//! there are a hundred thousand of them.

use std::sync::Arc;

use crate::outbound::Outbound;
use crate::protocol::Encoding;

/// One session's listening to one channel.
#[derive(Clone)]
pub struct Subscriber {
    pub outbound: Arc<Outbound>,
    pub encoding: Encoding,
    /// Does it get what its own session published?
    pub echo: bool,
    /// Is its connection closed at a gap, as its protocol has no words for one?
    pub closes_on_gap: bool,
}

/// Subscribers in the order they came.
///
/// Who leaves is found by number and leaves a hole; the holes are closed when half of all places
/// are holes. Delivery walks a shared snapshot; whoever joins or leaves meanwhile copies the list,
/// at most once a delivery.
#[derive(Default)]
pub struct Subscribers {
    /// Sorted by number, since numbers only grow.
    places: Arc<Vec<Place>>,
    holes: usize,
}

#[derive(Clone)]
struct Place {
    number: u64,
    /// None: a hole.
    subscriber: Option<Subscriber>,
}

impl Subscribers {
    pub fn len(&self) -> usize {
        self.places.len() - self.holes
    }

    pub fn add(&mut self, number: u64, subscriber: Subscriber) {
        let places = Arc::make_mut(&mut self.places);
        debug_assert!(places.last().is_none_or(|last| last.number < number));
        if places.is_empty() {
            // Most channels have one subscriber; a vector's first growth would make room for four.
            places.reserve_exact(1);
        }
        places.push(Place { number, subscriber: Some(subscriber) });
    }

    /// Removes the very subscription with this number, if it is still there.
    pub fn remove(&mut self, number: u64) -> Option<Subscriber> {
        let at = self.places.binary_search_by_key(&number, |place| place.number).ok()?;
        let places = Arc::make_mut(&mut self.places);
        let removed = places[at].subscriber.take()?;
        self.holes += 1;
        if self.holes * 2 > places.len() {
            places.retain(|place| place.subscriber.is_some());
            places.shrink_to(places.len() * 2);
            self.holes = 0;
        }
        Some(removed)
    }

    /// Is a publication on its way to them?
    pub fn is_walked(&self) -> bool {
        Arc::strong_count(&self.places) > 1
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.places.clone())
    }
}

/// The subscribers of a moment.
pub struct Snapshot(Arc<Vec<Place>>);

impl Snapshot {
    /// How many there are at most.
    pub fn places(&self) -> usize {
        self.0.len()
    }

    /// Each with the number of its subscription.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &Subscriber)> {
        self.0.iter().filter_map(|place| Some((place.number, place.subscriber.as_ref()?)))
    }
}
