//! The node's connections, by session number.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};

use crate::outbound::Outbound;
use crate::publication::SessionId;
use crate::sharded::Sharded;

#[derive(Default)]
pub struct Connections(Sharded<HashMap<u64, Arc<Outbound>>>);

impl Connections {
    pub fn add(&self, outbound: Arc<Outbound>) {
        let session = outbound.session();
        self.shard(session).insert(session.number, outbound);
    }

    pub fn remove(&self, session: SessionId) {
        self.shard(session).remove(&session.number);
    }

    /// All connections, unordered.
    pub fn all(&self) -> Vec<Arc<Outbound>> {
        let mut all = Vec::new();
        for shard in self.0.each() {
            all.extend(shard.values().cloned());
        }
        all
    }

    pub fn count(&self) -> usize {
        self.0.each().map(|shard| shard.len()).sum()
    }

    /// Bytes in all outbound queues.
    pub fn bytes(&self) -> usize {
        let waiting = |shard: MutexGuard<'_, HashMap<u64, Arc<Outbound>>>| {
            shard.values().map(|outbound| outbound.bytes()).sum::<usize>()
        };
        self.0.each().map(waiting).sum()
    }

    /// Session numbers are consecutive, so they spread evenly without a hash.
    fn shard(&self, session: SessionId) -> MutexGuard<'_, HashMap<u64, Arc<Outbound>>> {
        self.0.of_hash(session.number)
    }
}
