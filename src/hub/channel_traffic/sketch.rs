//! The names with the greatest weights among any number, in bounded memory: the Space-Saving sketch
//! (Metwally, Agrawal and El Abbadi, "Efficient computation of frequent and top-k elements in data streams",
//! 2005), with weights.

/// Counters of the heaviest names.
///
/// A name without a counter takes over the lightest one, with that one's count as its error. So `count -
/// error` ≤ true weight ≤ `count` for each name that has a counter; a name without one weighs at most
/// [`Sketch::unseen`]; and with n counters, a name above 1/n of the total always has one.
///
/// All lists have the same order. They are separate, because each publication iterates over one or two of
/// them.
#[derive(Debug, Default)]
pub struct Sketch {
    /// Of the names. Keyed and 64 bits long, so that two names of a node practically never share one.
    hashes: Vec<u64>,
    counts: Vec<u64>,
    errors: Vec<u64>,
    names: Vec<String>,
    total: u64,
    /// The smallest count at the last full search, and the index up to which it has been searched for since.
    floor: u64,
    searched: usize,
}

/// A counter and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter<'a> {
    pub hash: u64,
    pub name: &'a str,
    pub count: u64,
    pub error: u64,
}

impl Sketch {
    /// Adds a weight to a name. `counters_max` must be the same in all calls; it and `weight` must be above
    /// 0.
    pub fn add(&mut self, hash: u64, name: &str, weight: u64, counters_max: usize) {
        self.total = self.total.saturating_add(weight);
        if let Some(at) = self.index(hash) {
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
            // Reuses the string's memory: many names that occur once must not cost an allocation each.
            let room = &mut self.names[at];
            room.clear();
            room.reserve_exact(name.len());
            room.push_str(name);
        }
    }

    /// The sum of all weights.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// All counters, unordered.
    pub fn counters(&self) -> impl Iterator<Item = Counter<'_>> {
        (0..self.hashes.len()).map(|at| Counter {
            hash: self.hashes[at],
            name: &self.names[at],
            count: self.counts[at],
            error: self.errors[at],
        })
    }

    pub fn has(&self, hash: u64) -> bool {
        self.index(hash).is_some()
    }

    /// The greatest weight that a name without a counter can have.
    pub fn unseen(&self, counters_max: usize) -> u64 {
        let lightest = self.lightest().filter(|_| self.hashes.len() == counters_max);
        lightest.map_or(0, |(_, count)| count)
    }

    /// A name's count and its error.
    pub fn of(&self, hash: u64, counters_max: usize) -> (u64, u64) {
        match self.index(hash) {
            Some(at) => (self.counts[at], self.errors[at]),
            None => (self.unseen(counters_max), self.unseen(counters_max)),
        }
    }

    /// Removes all counters, and frees the names' memory.
    pub fn clear(&mut self) {
        self.hashes.clear();
        self.counts.clear();
        self.errors.clear();
        self.names.clear();
        (self.total, self.floor, self.searched) = (0, 0, 0);
    }

    fn index(&self, hash: u64) -> Option<usize> {
        self.hashes.iter().position(|it| *it == hash)
    }

    /// The index and count of the lightest counter, whose count the caller is about to increase.
    ///
    /// Counts only grow, so a counter that is still at the floor is the lightest. Where many names occur
    /// once, many counters are at the floor, so not every new name costs a full search.
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

    /// Names and weights: few heavy names, many light ones.
    fn streams() -> impl Strategy<Value = Vec<(u64, u64)>> {
        let skewed = (0u64..4, 0u64..60, 1u64..1000).prop_map(|(kind, name, weight)| {
            if kind == 0 { (name, weight) } else { (name % 5, weight) }
        });
        proptest::collection::vec(skewed, 0..400)
    }

    proptest! {
        #[test]
        fn sketch_counts_are_within_their_error_and_heavy_names_have_a_counter(
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
    fn a_sketch_with_a_counter_for_every_name_is_exact() {
        let mut sketch = Sketch::default();
        for (name, weight) in [(1, 5), (2, 7), (1, 5)] {
            sketch.add(name, "x", weight, 2);
        }
        assert_eq!((sketch.of(1, 2), sketch.of(2, 2)), ((10, 0), (7, 0)));
        sketch.add(3, "newcomer", 1, 2);
        assert_eq!(sketch.of(3, 2), (8, 7), "it may have been as much as the one it replaced");
        assert_eq!(sketch.of(2, 2), (8, 8), "like the replaced one");
        sketch.clear();
        assert_eq!((sketch.of(1, 2), sketch.total()), ((0, 0), 0));
    }
}
