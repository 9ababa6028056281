//! The number of connections and the rate of handshakes of each client address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::Bucket;
use crate::sharded::Sharded;

/// Shards of the table, so that handshakes rarely contend for a lock.
const SHARDS: usize = 32;

/// Most addresses that are counted at a time, some 20 MB of memory. Further ones are let through uncounted;
/// the node's limits apply to them nevertheless.
const ENTRIES_MAX: usize = 1 << 18;

/// A shard with fewer addresses is not swept.
const SWEPT_ENTRIES_MIN: usize = 64;

/// How often a shard may be swept. An address without connections needs no longer than this for its rate to
/// recover.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The addresses that have connections, or had handshakes within the last second.
pub struct Addresses {
    shards: Sharded<AddressShard, SHARDS>,
}

#[derive(Default)]
struct AddressShard {
    entries: HashMap<ClientAddress, AddressEntry>,
    swept_at: Option<Instant>,
}

/// What counts as one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ClientAddress {
    V4(u32),
    /// The upper half: the owner of one IPv6 address has its whole /64.
    V6(u64),
}

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

struct AddressEntry {
    connections: usize,
    /// Limits its handshakes.
    bucket: Bucket,
}

impl AddressEntry {
    /// Whether a new entry would be equal, so that this one can be dropped.
    fn is_default(&mut self, per_second: usize, now: Instant) -> bool {
        self.connections == 0 && self.bucket.is_full(per_second, now)
    }
}

/// The address has `limits.connections_per_ip` connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyFromAddress;

/// One counted connection of an address. The drop releases it.
pub struct AddressSlot {
    addresses: Arc<Addresses>,
    address: ClientAddress,
}

impl Addresses {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { shards: Sharded::default() })
    }

    /// Counts one handshake. Returns false if the address exceeds `per_second`.
    pub fn take(&self, address: IpAddr, per_second: usize, now: Instant) -> bool {
        let address = address.into();
        let mut shard = self.shards.of(&address);
        let entry = shard.entry(address, per_second, now);
        entry.is_none_or(|entry| entry.bucket.take(1, per_second, now))
    }

    /// Counts one more connection of the address. Returns None if the table is full, so that it is not
    /// counted.
    pub fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        connections_max: usize,
        per_second: usize,
        now: Instant,
    ) -> Result<Option<AddressSlot>, TooManyFromAddress> {
        let address = address.into();
        let mut shard = self.shards.of(&address);
        let Some(entry) = shard.entry(address, per_second, now) else { return Ok(None) };
        if entry.connections >= connections_max {
            return Err(TooManyFromAddress);
        }
        entry.connections += 1;
        Ok(Some(AddressSlot { addresses: self.clone(), address }))
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.each().map(|shard| shard.entries.len()).sum()
    }
}

impl AddressShard {
    /// Returns None if there is no room for another address.
    fn entry(
        &mut self,
        address: ClientAddress,
        per_second: usize,
        now: Instant,
    ) -> Option<&mut AddressEntry> {
        if !self.entries.contains_key(&address) {
            self.sweep(per_second, now);
            if self.entries.len() >= ENTRIES_MAX / SHARDS {
                return None;
            }
        }
        let new = || AddressEntry { connections: 0, bucket: Bucket::full(per_second, now) };
        Some(self.entries.entry(address).or_insert_with(new))
    }

    /// Drops the entries that equal a new one.
    fn sweep(&mut self, per_second: usize, now: Instant) {
        let is_due = self.swept_at.is_none_or(|at| now >= at + SWEEP_INTERVAL);
        if self.entries.len() < SWEPT_ENTRIES_MIN || !is_due {
            return;
        }
        self.swept_at = Some(now);
        self.entries.retain(|_, entry| !entry.is_default(per_second, now));
        self.entries.shrink_to(self.entries.len() * 2);
    }
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        let mut shard = self.addresses.shards.of(&self.address);
        if let Some(entry) = shard.entries.get_mut(&self.address) {
            // The entry itself is dropped by a later sweep.
            entry.connections -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own_connection_count_which_drops_release() {
        let (addresses, now) = (Addresses::new(), Instant::now());
        let enter = |address| addresses.enter(ip(address), 2, 0, now).map(Option::unwrap);
        let first = enter("192.0.2.1").unwrap_or_else(|_| panic!("there is room"));
        let _second = enter("::ffff:192.0.2.1").unwrap_or_else(|_| panic!("there is room"));
        assert!(enter("192.0.2.1").is_err());
        assert!(enter("192.0.2.2").is_ok());
        drop(first);
        assert!(enter("192.0.2.1").is_ok());
    }

    #[test]
    fn ipv6_clients_are_counted_by_their_64_prefix() {
        let (addresses, now) = (Addresses::new(), Instant::now());
        assert!(addresses.take(ip("2001:db8:0:1::1"), 1, now));
        assert!(!addresses.take(ip("2001:db8:0:1:ffff::2"), 1, now));
        assert!(addresses.take(ip("2001:db8:0:2::1"), 1, now));
        // An IPv4 address with the same bits is a different one.
        assert!(addresses.take(ip("0.0.0.1"), 1, now) && addresses.take(ip("0:0:0:1::"), 1, now));
    }

    #[test]
    fn the_handshake_rate_applies_to_each_address_and_refills() {
        let (addresses, start) = (Addresses::new(), Instant::now());
        let one = ip("192.0.2.1");
        assert!((0..3).all(|_| addresses.take(one, 3, start)));
        assert!(!addresses.take(one, 3, start));
        assert!(addresses.take(ip("192.0.2.2"), 3, start));
        assert!(addresses.take(one, 3, start + Duration::from_millis(400)));
        assert!(!addresses.take(one, 3, start + Duration::from_millis(400)));
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_swept_except_those_with_connections() {
        let (addresses, start) = (Addresses::new(), Instant::now());
        let numbered = |number: u32| IpAddr::V4(number.into());
        let stays = addresses.enter(numbered(1), 1, 1, start).ok().flatten();
        for number in 0..(ENTRIES_MAX * 2) as u32 {
            assert!(addresses.take(numbered(number), 1, start), "{number} is new");
        }
        assert!((ENTRIES_MAX / 2..=ENTRIES_MAX).contains(&addresses.len()));
        let later = start + SWEEP_INTERVAL;
        for number in 0..10_000 {
            addresses.take(IpAddr::V6((u128::from(number + 1_u32) << 64).into()), 1, later);
        }
        assert!(addresses.len() <= 10_001, "{}", addresses.len());
        assert!(addresses.enter(numbered(1), 1, 1, later).is_err(), "it is still there");
        drop(stays);
    }
}
