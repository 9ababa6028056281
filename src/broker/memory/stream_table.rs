//! The fields of durable streams in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::broker::streams::{EXPIRY_FIELD, TTL_FIELD};
use crate::publication::Channel;

/// The fields of all streams.
#[derive(Default)]
pub struct StreamTable(Mutex<HashMap<Channel, FieldTable>>);

/// The fields of one stream.
pub struct FieldTable {
    fields: BTreeMap<String, String>,
    expires_at: Instant,
}

impl FieldTable {
    /// When a stream expires by its fields, if it is used now. None: when its history does.
    fn expiry(&self, now: Instant) -> Option<Instant> {
        let millis = |field: &str| self.fields.get(field)?.parse().ok().map(Duration::from_millis);
        if let Some(ttl) = millis(TTL_FIELD) {
            return now.checked_add(ttl);
        }
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.checked_add(millis(EXPIRY_FIELD)?.saturating_sub(clock))
    }
}

impl StreamTable {
    pub fn locked(&self) -> MutexGuard<'_, HashMap<Channel, FieldTable>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn has(&self, channel: &Channel, now: Instant) -> bool {
        self.locked().get(channel).is_some_and(|stream| stream.expires_at > now)
    }

    pub fn field(&self, channel: &Channel, field: &str, now: Instant) -> Option<String> {
        let streams = self.locked();
        let stream = streams.get(channel).filter(|stream| stream.expires_at > now)?;
        stream.fields.get(field).cloned()
    }

    pub fn write(&self, channel: &Channel, fields: Vec<(String, Option<String>)>, now: Instant) {
        let mut streams = self.locked();
        for (field, value) in fields {
            let new = || FieldTable { fields: BTreeMap::new(), expires_at: now };
            let stream = streams.entry(channel.clone()).or_insert_with(new);
            match value {
                Some(value) => _ = stream.fields.insert(field, value),
                None => _ = stream.fields.remove(&field),
            }
        }
    }

    /// Sets when the stream expires, if it is used now. Returns when its history is to expire with it.
    pub fn renew(&self, channel: &Channel, kept: Duration, now: Instant) -> Option<Instant> {
        let mut streams = self.locked();
        let stream = streams.get_mut(channel)?;
        let expiry = stream.expiry(now);
        stream.expires_at = expiry.unwrap_or(now + kept);
        expiry
    }

    /// Removes expired streams.
    pub fn sweep(&self, now: Instant) {
        self.locked().retain(|_, stream| stream.expires_at > now);
    }
}
