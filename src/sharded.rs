//! A table in shards, each behind its own lock, so that tasks rarely contend.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard};

/// The shards of a table. A key's hash determines its shard.
pub struct Sharded<T, const SHARDS: usize = 64> {
    shards: [Mutex<T>; SHARDS],
    hasher: RandomState,
}

impl<T: Default, const SHARDS: usize> Default for Sharded<T, SHARDS> {
    fn default() -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { shards, hasher: RandomState::new() }
    }
}

impl<T, const SHARDS: usize> Sharded<T, SHARDS> {
    /// The number of shards.
    pub const COUNT: usize = SHARDS;

    /// Keyed, so that clients cannot choose names that all fall into one shard.
    pub fn hash<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The shard of the key, locked.
    pub fn of<K: Hash + ?Sized>(&self, key: &K) -> MutexGuard<'_, T> {
        self.of_hash(self.hash(key))
    }

    /// The shard of the key with this hash, locked.
    pub fn of_hash(&self, hash: u64) -> MutexGuard<'_, T> {
        locked(&self.shards[hash as usize % SHARDS])
    }

    /// The shards one after another, each locked while it is used.
    pub fn each(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.shards.iter().map(locked)
    }
}

fn locked<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().expect("no code panics while it holds a shard's lock")
}

/// Frees most of a map's unused capacity after a removal, because a flood of keys must not keep its memory for
/// ever.
pub fn shrink<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.len() * 4 < map.capacity() {
        map.shrink_to(map.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_always_in_the_same_shard_and_keys_are_spread_over_all_of_them() {
        let table: Sharded<HashMap<u32, u32>, 8> = Sharded::default();
        for key in 0..1000 {
            table.of(&key).insert(key, key);
        }
        assert!((0..1000).all(|key| table.of(&key).get(&key) == Some(&key)));
        assert_eq!(table.each().map(|shard| shard.len()).sum::<usize>(), 1000);
        assert!(table.each().all(|shard| shard.len() > 50), "each has about 125");
    }

    #[test]
    fn a_map_gives_back_its_room_when_less_than_a_quarter_of_it_is_used() {
        let with = |keys| {
            let mut map: HashMap<u32, u32> = HashMap::with_capacity(1000);
            map.extend((0..keys).map(|key| (key, key)));
            shrink(&mut map);
            (map.len(), map.capacity())
        };
        assert!(with(500).1 >= 1000, "half of it is used");
        let (len, capacity) = with(100);
        assert!(len == 100 && (100..400).contains(&capacity), "{capacity}");
    }
}
