//! The channels that a session used recently. Channels that are not in this list count as new.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use crate::publication::Channel;

/// Most channels that are remembered. The newest replaces the oldest.
pub const CHANNELS_MAX: usize = 1024;

/// Shared by all sessions. Its keys are secret, so that no client can choose channel names with equal hashes.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Eight bytes for each channel; no memory before the first.
#[derive(Debug, Default)]
pub struct KnownChannels {
    hashes: Vec<u64>,
    /// The index of the newest hash.
    newest: usize,
}

impl KnownChannels {
    /// Whether the channel was used recently. The newest one is found immediately.
    pub fn contains(&self, channel: &Channel) -> bool {
        let hash = HASHER.hash_one(channel);
        self.hashes.get(self.newest) == Some(&hash) || self.hashes.contains(&hash)
    }

    /// Adds a channel.
    pub fn add(&mut self, channel: &Channel) {
        let hash = HASHER.hash_one(channel);
        if self.hashes.len() < CHANNELS_MAX {
            self.newest = self.hashes.len();
            self.hashes.push(hash);
        } else {
            // Replace the oldest.
            self.newest = (self.newest + 1) % CHANNELS_MAX;
            self.hashes[self.newest] = hash;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_channels_drop_the_oldest_first() {
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
