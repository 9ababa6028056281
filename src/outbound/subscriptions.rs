//! The subscriptions whose publications a queue accepts.
//!
//! A delivery iterates over a snapshot of the subscribers without a lock, so it may reach a subscription that
//! has ended. The queue detects that, under the lock that a push needs anyway.

/// The numbers of a connection's subscriptions. 0 is none.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// Most connections have one subscription, which needs no allocation.
    first: u64,
    /// Sorted. None if there are no others.
    #[expect(clippy::box_collection, reason = "a connection has one word for it, not three")]
    others: Option<Box<Vec<u64>>>,
}

impl Subscriptions {
    pub fn contains(&self, number: u64) -> bool {
        self.first == number
            || self.others.as_ref().is_some_and(|others| others.binary_search(&number).is_ok())
    }

    pub fn add(&mut self, number: u64) {
        debug_assert!(number > 0 && !self.contains(number), "{number}: {self:?}");
        if self.first == 0 {
            self.first = number;
            return;
        }
        let others = self.others.get_or_insert_default();
        // Usually at the end, because numbers grow.
        others.insert(others.partition_point(|other| *other < number), number);
    }

    pub fn remove(&mut self, number: u64) {
        if self.first == number {
            self.first = 0;
        } else if let Some(others) = &mut self.others {
            if let Ok(at) = others.binary_search(&number) {
                others.remove(at);
            }
            if others.is_empty() {
                self.others = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_number_is_contained_from_its_addition_until_its_removal() {
        let mut subscriptions = Subscriptions::default();
        for number in 1..=5 {
            subscriptions.add(number);
        }
        for gone in [1, 4] {
            subscriptions.remove(gone);
        }
        subscriptions.add(6);
        subscriptions.remove(7);
        let there: Vec<_> = (1..=7).filter(|number| subscriptions.contains(*number)).collect();
        assert_eq!(there, [2, 3, 5, 6]);
        there.into_iter().for_each(|number| subscriptions.remove(number));
        assert!(subscriptions.first == 0 && subscriptions.others.is_none());
    }
}
