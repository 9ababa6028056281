//! The sessions of each user on this node: counted, and closed when the user is disconnected.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::auth::{Identity, Revocations, is_until, unix_millis};
use crate::broker::{Broker, Revocation, Unavailable};
use crate::close::Close;
use crate::outbound::Outbound;
use crate::publication::User;
use crate::sharded::{Sharded, shrink};
use crate::telemetry;

/// The sessions of each user on this node, and the revocations of their tokens. Cheap to clone; all clones
/// share one state.
#[derive(Clone)]
pub struct Users(Arc<UsersShared>);

struct UsersShared {
    shards: Sharded<HashMap<Arc<str>, Sessions>>,
    revocations: Revocations,
}

/// A user's sessions. Removing one leaves a free slot that the next one fills, so that removal costs the same
/// with one session as with 100,000.
#[derive(Default)]
struct Sessions {
    slots: Vec<Option<UserSession>>,
    free_slots: Vec<usize>,
}

struct UserSession {
    issued_at: Option<SystemTime>,
    outbound: Arc<Outbound>,
}

/// Ends the user's sessions on this node, and through the broker on all others. Returns how many ended here, and whether
/// the broker has told the others.
pub async fn disconnect(
    broker: &dyn Broker,
    users: &Users,
    user: &str,
) -> (usize, Result<(), Unavailable>) {
    let before = unix_millis(SystemTime::now());
    let disconnected = users.revoke(user, before);
    telemetry::user_disconnected(disconnected);
    let keep = users.revocations().age();
    (disconnected, broker.revoke(Revocation { user: user.into(), before, keep }).await)
}

/// Why a session may not have its user's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserRefusal {
    /// The user was disconnected after the token had been issued.
    Revoked,
    /// The user has the most sessions that one may have on this node.
    Full,
}

impl Users {
    pub fn new(revocations: Revocations) -> Self {
        Self(Arc::new(UsersShared { shards: Sharded::default(), revocations }))
    }

    /// Adds a session to its user's; the guard's drop removes it. Returns None if the identity has no user.
    ///
    /// `max`: most sessions of one user.
    ///
    /// The order matters: this function adds the session and then checks for a revocation; [`Users::revoke`]
    /// stores the revocation and then lists the user's sessions. Whichever runs later sees the other.
    pub fn admit(
        &self,
        identity: &Identity,
        outbound: &Arc<Outbound>,
        max: usize,
    ) -> Result<Option<Entered>, UserRefusal> {
        let entered = match &identity.user {
            Some(user) => {
                Some(self.enter_within(user.clone(), identity.issued_at, outbound.clone(), max)?)
            }
            None => None,
        };
        match self.0.revocations.is_revoked(identity) {
            true => Err(UserRefusal::Revoked),
            false => Ok(entered),
        }
    }

    /// Adds a session of the user, whose token was issued at `issued_at`; the guard's drop removes it.
    ///
    /// The caller must check [`Revocations::is_revoked`] afterwards, for the reason in [`Users::admit`].
    pub fn enter(
        &self,
        user: Arc<str>,
        issued_at: Option<SystemTime>,
        outbound: Arc<Outbound>,
    ) -> Entered {
        self.enter_within(user, issued_at, outbound, usize::MAX).expect("there is no bound")
    }

    /// The same; fails with [`UserRefusal::Full`] if the user has `max` sessions on this node.
    pub fn enter_within(
        &self,
        user: Arc<str>,
        issued_at: Option<SystemTime>,
        outbound: Arc<Outbound>,
        max: usize,
    ) -> Result<Entered, UserRefusal> {
        let mut shard = self.0.shards.of(&*user);
        if shard.get(&user).map_or(0, Sessions::len) >= max {
            return Err(UserRefusal::Full);
        }
        let slot = shard.entry(user.clone()).or_default().add(UserSession { issued_at, outbound });
        drop(shard);
        Ok(Entered { users: self.clone(), user, slot })
    }

    /// How many sessions the user has on this node.
    pub fn count(&self, user: &str) -> usize {
        self.0.shards.of(user).get(user).map_or(0, Sessions::len)
    }

    /// Refuses the user's tokens that were issued until `before`, in Unix milliseconds, and closes the
    /// sessions that used one. Returns how many.
    ///
    /// A repeated revocation costs one look-up, because its sessions are closed already.
    pub fn revoke(&self, user: &str, before: u64) -> usize {
        match self.0.revocations.revoke(user, before) {
            true => self.close_revoked(user, before),
            false => 0,
        }
    }

    /// Closes the user's sessions whose tokens were issued until `before`. Returns how many.
    pub fn close_revoked(&self, user: &str, before: u64) -> usize {
        let shard = self.0.shards.of(user);
        let ended =
            shard.get(user).map(|sessions| sessions.issued_until(before)).unwrap_or_default();
        drop(shard);
        ended.into_iter().filter(|outbound| outbound.close(Close::Revoked)).count()
    }

    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }

    fn remove(&self, user: &str, slot: usize) {
        let mut shard = self.0.shards.of(user);
        let Some(sessions) = shard.get_mut(user) else { return };
        sessions.remove(slot);
        if sessions.len() == 0 {
            shard.remove(user);
            shrink(&mut shard);
        }
    }
}

impl Sessions {
    fn len(&self) -> usize {
        self.slots.len() - self.free_slots.len()
    }

    fn add(&mut self, session: UserSession) -> usize {
        match self.free_slots.pop() {
            Some(slot) => {
                self.slots[slot] = Some(session);
                slot
            }
            None => {
                if self.slots.is_empty() {
                    // Most users have one session; a vector's first growth would allocate room for four.
                    self.slots.reserve_exact(1);
                }
                self.slots.push(Some(session));
                self.slots.len() - 1
            }
        }
    }

    fn remove(&mut self, slot: usize) {
        self.slots[slot] = None;
        self.free_slots.push(slot);
    }

    /// The sessions whose token was issued until `before`.
    fn issued_until(&self, before: u64) -> Vec<Arc<Outbound>> {
        let sessions = self.slots.iter().flatten();
        let ended = sessions.filter(|session| is_until(session.issued_at, before));
        ended.map(|session| session.outbound.clone()).collect()
    }
}

/// A session's entry among its user's. The drop removes it.
pub struct Entered {
    users: Users,
    user: Arc<str>,
    slot: usize,
}

impl Entered {
    pub fn user(&self) -> User {
        Some(self.user.clone())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.users.remove(&self.user, self.slot);
    }
}

#[cfg(test)]
mod tests;
