//! The channels that a session used lately, by which it is told whether one is new to it.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use crate::publication::Channel;

/// Most channels that are remembered. One that more others came after is new again.
pub const CHANNELS_MAX: usize = 1024;

/// The same for all sessions. Its keys are secret, so no client can choose names that are taken for one.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Eight bytes a channel, and none before the first.
#[derive(Debug, Default)]
pub struct KnownChannels {
    hashes: Vec<u64>,
    /// Where the newest stands.
    newest: usize,
}

impl KnownChannels {
    /// Was it used lately? The one that was added last is found at once.
    pub fn contains(&self, channel: &Channel) -> bool {
        let hash = HASHER.hash_one(channel);
        self.hashes.get(self.newest) == Some(&hash) || self.hashes.contains(&hash)
    }

    /// From here on it is known.
    pub fn add(&mut self, channel: &Channel) {
        let hash = HASHER.hash_one(channel);
        if self.hashes.len() < CHANNELS_MAX {
            self.newest = self.hashes.len();
            self.hashes.push(hash);
        } else {
            // The oldest gives way.
            self.newest = (self.newest + 1) % CHANNELS_MAX;
            self.hashes[self.newest] = hash;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let channel = |number: usize| Channel::new(&format!("c:{number}")).unwrap();
        let mut known = KnownChannels::default();
        for number in 0..CHANNELS_MAX {
            assert!(!known.contains(&channel(number)));
            known.add(&channel(number));
        }
        assert!((0..CHANNELS_MAX).all(|number| known.contains(&channel(number))));
        known.add(&channel(CHANNELS_MAX));
        assert!(!known.contains(&channel(0)));
        assert!((1..=CHANNELS_MAX).all(|number| known.contains(&channel(number))));
    }
}
