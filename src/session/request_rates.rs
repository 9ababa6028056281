//! The rates of clients that send short requests: one rate limiter for each client, because its requests may
//! come on many connections, and a proxy may send requests of many clients on one connection.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::rates::Rates;
use crate::limits::Limits;
use crate::publication::User;
use crate::sharded::{Sharded, shrink};

/// Shards of the table, so that requests rarely contend for a lock.
const SHARDS: usize = 32;

/// Most clients whose rates are remembered at a time, each some hundred bytes, or up to 8 KiB if it publishes to a
/// thousand channels. Further ones are not limited; the limits on connections apply to them nevertheless.
const ENTRIES_MAX: usize = 1 << 15;

/// How often a full shard may be swept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A client that sent nothing for so long is forgotten: its rates have recovered.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// The rate limiters of the clients that sent requests recently.
#[derive(Default)]
pub struct RequestRates {
    shards: Sharded<RatesShard, SHARDS>,
}

#[derive(Default)]
struct RatesShard {
    entries: HashMap<RequestClient, RatesEntry>,
    swept_at: Option<Instant>,
}

struct RatesEntry {
    rates: Rates,
    used_at: Instant,
}

/// What counts as one client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestClient {
    User(Arc<str>),
    /// A client without a user. IPv6: the upper half, because the owner of one address has its whole /64.
    Address(IpAddr),
}

impl RequestClient {
    pub fn new(user: User, address: IpAddr) -> Self {
        match (user, address.to_canonical()) {
            (Some(user), _) => Self::User(user),
            (None, IpAddr::V6(address)) => {
                let network = address.to_bits() >> 64 << 64;
                Self::Address(IpAddr::V6(network.into()))
            }
            (None, address) => Self::Address(address),
        }
    }
}

impl RequestRates {
    /// Calls `count` with the client's rate limiter, while the client's shard is locked.
    pub fn with<R>(
        &self,
        client: RequestClient,
        limits: &Limits,
        now: Instant,
        count: impl FnOnce(&mut Rates) -> R,
    ) -> R {
        let mut shard = self.shards.of(&client);
        if !shard.entries.contains_key(&client) {
            shard.sweep(now);
            if shard.entries.len() >= ENTRIES_MAX / SHARDS {
                drop(shard);
                return count(&mut Rates::of_requests(limits.clone()));
            }
        }
        let new = || RatesEntry { rates: Rates::of_requests(limits.clone()), used_at: now };
        let entry = shard.entries.entry(client).or_insert_with(new);
        entry.used_at = now;
        count(&mut entry.rates)
    }
}

impl RatesShard {
    /// Drops the clients that sent nothing for a while.
    fn sweep(&mut self, now: Instant) {
        if self.swept_at.is_some_and(|at| now < at + SWEEP_INTERVAL) {
            return;
        }
        self.swept_at = Some(now);
        self.entries
            .retain(|_, entry| now.saturating_duration_since(entry.used_at) < FORGOTTEN_AFTER);
        shrink(&mut self.entries);
    }
}

#[cfg(test)]
mod tests {
    use super::super::rates::RateKind;
    use super::*;
    use crate::limits::Config;

    fn limits() -> Limits {
        Limits::new(Config { publications_per_second: 2, ..Config::default() })
    }

    fn publish(rates: &RequestRates, user: User, address: &str, now: Instant) -> bool {
        let client = RequestClient::new(user, address.parse().unwrap());
        let count = |rates: &mut Rates| rates.count(RateKind::Publications, 1, now).is_ok();
        rates.with(client, &limits(), now, count)
    }

    #[test]
    fn requests_of_one_user_or_address_share_a_rate() {
        let (rates, now) = (RequestRates::default(), Instant::now());
        let user = || Some("u1".into());
        assert!(publish(&rates, user(), "192.0.2.1", now));
        assert!(publish(&rates, user(), "192.0.2.2", now), "another address of the user");
        assert!(!publish(&rates, user(), "192.0.2.3", now));
        assert!(publish(&rates, Some("u2".into()), "192.0.2.3", now));
        assert!(publish(&rates, None, "2001:db8::1", now));
        assert!(publish(&rates, None, "2001:db8::2", now));
        assert!(!publish(&rates, None, "2001:db8::3", now), "the same /64");
        assert!(publish(&rates, None, "2001:db8:0:1::3", now));
        assert!(publish(&rates, user(), "192.0.2.3", now + Duration::from_secs(1)));
    }

    #[test]
    fn a_flood_of_clients_is_bounded_and_forgotten() {
        let (rates, now) = (RequestRates::default(), Instant::now());
        let flood = |now| {
            for number in 0..2 * ENTRIES_MAX as u32 {
                let address = IpAddr::V4(number.into());
                let client = RequestClient::new(None, address);
                rates.with(client, &limits(), now, |_| {});
            }
            rates.shards.each().map(|shard| shard.entries.len()).sum::<usize>()
        };
        assert!((ENTRIES_MAX / 2..=ENTRIES_MAX).contains(&flood(now)));
        let later = now + FORGOTTEN_AFTER;
        publish(&rates, None, "2001:db8::1", later);
        let swept = rates.shards.each().any(|shard| shard.entries.len() == 1);
        assert!(swept, "a new client sweeps its shard");
    }
}
