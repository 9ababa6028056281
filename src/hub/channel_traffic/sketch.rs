//! Which names weigh the most, of as many as there may be, in bounded memory: the Space-Saving sketch
//! (Metwally, Agrawal and El Abbadi, "Efficient computation of frequent and top-k elements in data
//! streams", 2005), with weights.

/// Counters of the heaviest names.
///
/// A name without a counter takes the lightest one, and that one's count with it as its error. So for each
/// name that is here `count - error` ≤ truth ≤ `count`; a name that is not weighs at most
/// [`Sketch::unseen`]; and with so many counters, one above that part of the total is always here.
///
/// All lists stand in the same order, and apart, because each publication walks one or two of them.
#[derive(Debug, Default)]
pub struct Sketch {
    /// Of the names. Of 64 bits and keyed, so that two names of a node never share one.
    hashes: Vec<u64>,
    counts: Vec<u64>,
    errors: Vec<u64>,
    names: Vec<String>,
    total: u64,
    /// The least count when all were last looked at, and how far they have been searched for it since.
    floor: u64,
    searched: usize,
}

/// A name that has a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter<'a> {
    pub hash: u64,
    pub name: &'a str,
    pub count: u64,
    pub error: u64,
}

impl Sketch {
    /// Adds to a name. `weight` and `counters_max`, how many there may be and always the same, are above 0.
    pub fn add(&mut self, hash: u64, name: &str, weight: u64, counters_max: usize) {
        self.total = self.total.saturating_add(weight);
        if let Some(at) = self.place(hash) {
            self.counts[at] = self.counts[at].saturating_add(weight);
        } else if self.hashes.len() < counters_max {
            self.hashes.push(hash);
            self.counts.push(weight);
            self.errors.push(0);
            self.names.push(name.to_owned());
        } else if let Some((at, lightest)) = self.take_lightest() {
            self.hashes[at] = hash;
            self.counts[at] = lightest.saturating_add(weight);
            self.errors[at] = lightest;
            // Within the room that it has: many names that come once must not cost an allocation each.
            let room = &mut self.names[at];
            room.clear();
            room.reserve_exact(name.len());
            room.push_str(name);
        }
    }

    /// All that was added.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// All that have one, in no order.
    pub fn counters(&self) -> impl Iterator<Item = Counter<'_>> {
        (0..self.hashes.len()).map(|at| Counter {
            hash: self.hashes[at],
            name: &self.names[at],
            count: self.counts[at],
            error: self.errors[at],
        })
    }

    pub fn has(&self, hash: u64) -> bool {
        self.place(hash).is_some()
    }

    /// The most that a name without a counter can weigh.
    pub fn unseen(&self, counters_max: usize) -> u64 {
        let lightest = self.lightest().filter(|_| self.hashes.len() == counters_max);
        lightest.map_or(0, |(_, count)| count)
    }

    /// A name's count and its error.
    pub fn of(&self, hash: u64, counters_max: usize) -> (u64, u64) {
        match self.place(hash) {
            Some(at) => (self.counts[at], self.errors[at]),
            None => (self.unseen(counters_max), self.unseen(counters_max)),
        }
    }

    /// Forgets all, and keeps the room of the names for no longer than it needs it.
    pub fn clear(&mut self) {
        self.hashes.clear();
        self.counts.clear();
        self.errors.clear();
        self.names.clear();
        (self.total, self.floor, self.searched) = (0, 0, 0);
    }

    fn place(&self, hash: u64) -> Option<usize> {
        self.hashes.iter().position(|it| *it == hash)
    }

    /// The lightest of all, which is about to become heavier.
    ///
    /// Counts only grow: one that is still at the floor is the lightest, and where many names come once,
    /// many are. So not each of them costs a look at all.
    fn take_lightest(&mut self) -> Option<(usize, u64)> {
        let rest = self.counts[self.searched..].iter();
        let at_floor = rest.copied().position(|count| count == self.floor);
        let (at, floor) = match at_floor {
            Some(further) => (self.searched + further, self.floor),
            None => self.lightest()?,
        };
        (self.searched, self.floor) = (at + 1, floor);
        Some((at, floor))
    }

    fn lightest(&self) -> Option<(usize, u64)> {
        let counts = self.counts.iter().copied().enumerate();
        counts.min_by_key(|(_, count)| *count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Names and weights: few that are heavy, many that are light.
    fn streams() -> impl Strategy<Value = Vec<(u64, u64)>> {
        let skewed = (0u64..4, 0u64..60, 1u64..1000).prop_map(|(kind, name, weight)| {
            if kind == 0 { (name, weight) } else { (name % 5, weight) }
        });
        proptest::collection::vec(skewed, 0..400)
    }

    proptest! {
        #[test]
        fn the_truth_is_within_the_error_and_what_is_heavy_is_there(
            stream in streams(),
            counters_max in 1usize..20,
        ) {
            let mut sketch = Sketch::default();
            let mut truth: HashMap<u64, u64> = HashMap::new();
            for (name, weight) in &stream {
                sketch.add(*name, &name.to_string(), *weight, counters_max);
                *truth.entry(*name).or_default() += weight;
            }
            let total: u64 = truth.values().sum();
            prop_assert_eq!(sketch.total(), total);
            prop_assert!(sketch.counters().count() <= counters_max);
            for counter in sketch.counters() {
                prop_assert_eq!(counter.name, counter.hash.to_string());
            }
            for (name, truth) in &truth {
                let (count, error) = sketch.of(*name, counters_max);
                prop_assert!(count - error <= *truth && *truth <= count, "{truth}: {count} ± {error}");
                prop_assert!(error <= total / counters_max as u64);
                prop_assert!(sketch.has(*name) || *truth <= total / counters_max as u64);
            }
        }
    }

    #[test]
    fn with_room_for_all_it_is_exact() {
        let mut sketch = Sketch::default();
        for (name, weight) in [(1, 5), (2, 7), (1, 5)] {
            sketch.add(name, "x", weight, 2);
        }
        assert_eq!((sketch.of(1, 2), sketch.of(2, 2)), ((10, 0), (7, 0)));
        sketch.add(3, "newcomer", 1, 2);
        assert_eq!(sketch.of(3, 2), (8, 7), "it may have been as much as the one it replaced");
        assert_eq!(sketch.of(2, 2), (8, 8), "as the one that is gone");
        sketch.clear();
        assert_eq!((sketch.of(1, 2), sketch.total()), ((0, 0), 0));
    }
}
