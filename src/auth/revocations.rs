//! Revoked tokens: for each user who was disconnected, the time up to which issued tokens are no longer
//! accepted.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Identity;
use crate::telemetry;

/// The most users with a revocation. Beyond it the oldest revocation is dropped, because its tokens expire first;
/// the node logs that.
pub const REVOCATIONS_MAX: usize = 1 << 18;

/// The shortest time between two such log lines.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The users who were disconnected, and when. Cheap to clone; all clones share one table.
#[derive(Clone, Debug)]
pub struct Revocations(Arc<RevocationsShared>);

#[derive(Debug)]
struct RevocationsShared {
    /// How long a revocation is kept, in milliseconds: as long as a token issued before it may be valid.
    age: AtomicU64,
    table: RwLock<RevocationTable>,
}

#[derive(Debug, Default)]
struct RevocationTable {
    /// User to revocation time, in Unix milliseconds.
    users: HashMap<Arc<str>, u64>,
    /// The same by time, to find expired ones.
    order: BTreeSet<(u64, Arc<str>)>,
    /// When the node last logged that there are too many.
    warned_at: Option<Instant>,
}

impl Revocations {
    /// `age`: how long a revocation is kept, `auth.revocation_age`.
    pub fn new(age: Duration) -> Self {
        let shared = RevocationsShared { age: AtomicU64::default(), table: RwLock::default() };
        let revocations = Self(Arc::new(shared));
        revocations.set_age(age);
        revocations
    }

    /// How long a revocation is kept.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.0.age.load(Ordering::Relaxed))
    }

    /// Changes how long revocations are kept. Expired ones do not return.
    pub fn set_age(&self, age: Duration) {
        self.0.age.store(u64::try_from(age.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Refuses the user's tokens issued up to `before`, in Unix milliseconds. The latest revocation applies.
    ///
    /// False: it changes nothing, or has expired already.
    pub fn revoke(&self, user: &str, before: u64) -> bool {
        let over = self.over();
        if before <= over || self.before(user).is_some_and(|known| known >= before) {
            return false;
        }
        let mut table = self.write();
        let is_new = table.put(user, before);
        if table.trim(over) > 0
            && table.warned_at.is_none_or(|told| told.elapsed() >= WARNING_INTERVAL)
        {
            table.warned_at = Some(Instant::now());
            telemetry::revocations_dropped(REVOCATIONS_MAX);
        }
        telemetry::revocations_known(table.users.len());
        is_new
    }

    /// Whether the token was issued before its user was disconnected. One look-up, no allocation.
    ///
    /// A token without `iat` counts as older than any revocation. `iat` is in whole seconds, rounded down: a token
    /// issued later within the second of the revocation looks older and is refused too. That is safer than
    /// accepting an older one.
    pub fn is_revoked(&self, identity: &Identity) -> bool {
        let Some(user) = &identity.user else { return false };
        self.before(user).is_some_and(|before| is_until(identity.issued_at, before))
    }

    /// The revocations that `known` lacks, or has an earlier time for.
    pub fn missing_in(&self, known: &HashMap<Arc<str>, u64>) -> Vec<(Arc<str>, u64)> {
        let over = self.over();
        let table = self.read();
        let missing = table.users.iter().filter(|(user, before)| {
            **before > over && known.get(*user).is_none_or(|there| there < *before)
        });
        missing.map(|(user, before)| (user.clone(), *before)).collect()
    }

    fn before(&self, user: &str) -> Option<u64> {
        self.read().users.get(user).copied()
    }

    /// A revocation of this time or earlier has expired.
    fn over(&self) -> u64 {
        unix_millis(SystemTime::now()).saturating_sub(self.0.age.load(Ordering::Relaxed))
    }

    fn read(&self) -> RwLockReadGuard<'_, RevocationTable> {
        self.0.table.read().expect("no code panics while it holds the revocations' lock")
    }

    fn write(&self) -> RwLockWriteGuard<'_, RevocationTable> {
        self.0.table.write().expect("no code panics while it holds the revocations' lock")
    }
}

impl RevocationTable {
    /// False: there is a later one.
    fn put(&mut self, user: &str, before: u64) -> bool {
        match self.users.get_key_value(user).map(|(user, known)| (user.clone(), *known)) {
            Some((_, known)) if known >= before => return false,
            Some((user, known)) => {
                self.order.remove(&(known, user.clone()));
                self.users.insert(user.clone(), before);
                self.order.insert((before, user));
            }
            None => {
                let user: Arc<str> = user.into();
                self.users.insert(user.clone(), before);
                self.order.insert((before, user));
            }
        }
        true
    }

    /// Drops expired revocations, and then the oldest until the rest fits. Returns how many of the latter.
    fn trim(&mut self, over: u64) -> usize {
        let mut dropped = 0;
        while let Some((before, _)) = self.order.first()
            && (*before <= over || self.order.len() > REVOCATIONS_MAX)
        {
            let (before, user) = self.order.pop_first().expect("it was just looked at");
            dropped += usize::from(before > over);
            self.users.remove(&user);
        }
        if self.users.len() * 4 < self.users.capacity() {
            // A flood of revocations must not keep its memory for ever.
            self.users.shrink_to(self.users.len() * 2);
        }
        dropped
    }
}

/// Whether it was issued at or before `before`, in Unix milliseconds, or at an unknown time.
pub fn is_until(issued_at: Option<SystemTime>, before: u64) -> bool {
    issued_at.is_none_or(|issued_at| unix_millis(issued_at) <= before)
}

/// Unix milliseconds; 0 for times before 1970.
pub fn unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(3600);

    fn identity(user: Option<&str>, issued_at: Option<SystemTime>) -> Identity {
        Identity { user: user.map(Into::into), issued_at, ..Identity::default() }
    }

    /// The start of the current second, and its Unix milliseconds.
    fn second() -> (SystemTime, u64) {
        let now = unix_millis(SystemTime::now()) / 1000 * 1000;
        (UNIX_EPOCH + Duration::from_millis(now), now)
    }

    #[test]
    fn tokens_issued_before_or_in_the_second_of_the_revocation_are_refused() {
        let (issued, millis) = second();
        let revocations = Revocations::new(AGE);
        assert!(!revocations.is_revoked(&identity(Some("ada"), Some(issued))));
        // Within the second: the token may be older or newer, because `iat` is in seconds.
        assert!(revocations.revoke("ada", millis + 400));
        assert!(revocations.is_revoked(&identity(Some("ada"), Some(issued))));
        let next = Some(issued + Duration::from_secs(1));
        assert!(!revocations.is_revoked(&identity(Some("ada"), next)));
        assert!(revocations.is_revoked(&identity(Some("ada"), None)));
        assert!(revocations.is_revoked(&identity(Some("ada"), Some(UNIX_EPOCH - AGE))));
        assert!(!revocations.is_revoked(&identity(Some("bo"), Some(issued))));
        assert!(!revocations.is_revoked(&identity(None, None)), "nobody's token is nobody's");
    }

    #[test]
    fn the_latest_revocation_applies_in_any_order_of_arrival() {
        let (_, now) = second();
        let revocations = Revocations::new(AGE);
        assert!(revocations.revoke("ada", now - 10));
        assert!(revocations.revoke("ada", now));
        assert!(!revocations.revoke("ada", now), "nothing new");
        assert!(!revocations.revoke("ada", now - 5));
        assert_eq!(revocations.before("ada"), Some(now));
        assert_eq!(revocations.read().order.len(), 1);
    }

    #[test]
    fn an_expired_revocation_is_dropped_and_does_not_return() {
        let (_, now) = second();
        let revocations = Revocations::new(AGE);
        let age = AGE.as_millis() as u64;
        assert!(!revocations.revoke("ada", now - age - 1000));
        assert!(revocations.revoke("ada", now - age / 2));
        revocations.set_age(AGE / 4);
        assert!(revocations.missing_in(&HashMap::new()).is_empty());
        assert!(revocations.revoke("bo", now));
        assert_eq!(revocations.before("ada"), None);
        assert_eq!(revocations.read().users.len(), 1);
    }

    #[test]
    fn the_oldest_revocations_are_dropped_when_there_are_too_many() {
        let (_, now) = second();
        let revocations = Revocations::new(AGE);
        let first = now - REVOCATIONS_MAX as u64;
        for number in 0..=REVOCATIONS_MAX as u64 + 1 {
            revocations.revoke(&format!("user {number}"), first + number);
        }
        assert_eq!(revocations.read().users.len(), REVOCATIONS_MAX);
        assert_eq!(revocations.read().order.len(), REVOCATIONS_MAX);
        assert_eq!(revocations.before("user 1"), None);
        assert_eq!(revocations.before("user 2"), Some(first + 2));
    }

    #[test]
    fn revocations_that_the_broker_lacks_are_found() {
        let (_, now) = second();
        let revocations = Revocations::new(AGE);
        for (user, before) in [("gone", now), ("earlier", now), ("same", now), ("later", now)] {
            revocations.revoke(user, before);
        }
        let known = [("earlier", now - 1), ("same", now), ("later", now + 1), ("foreign", now)];
        let known = known.map(|(user, before)| (user.into(), before)).into();
        let mut missing = revocations.missing_in(&known);
        missing.sort();
        assert_eq!(missing, [("earlier".into(), now), ("gone".into(), now)]);
    }
}
