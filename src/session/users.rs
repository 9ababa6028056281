//! Whose sessions are on this node: to count them, and to end them when the user is disconnected.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::auth::{Identity, Revocations, is_until};
use crate::close::Close;
use crate::outbound::Outbound;
use crate::publication::User;
use crate::sharded::{Sharded, shrink};

/// The sessions of each user on this node, and whose tokens are revoked. Cheap to clone; all clones
/// are one.
#[derive(Clone)]
pub struct Users(Arc<UsersShared>);

struct UsersShared {
    shards: Sharded<HashMap<Arc<str>, Sessions>>,
    revocations: Revocations,
}

/// A user's sessions. Who leaves leaves a hole that the next one fills, so that leaving costs the same
/// for one and for a hundred thousand.
#[derive(Default)]
struct Sessions {
    places: Vec<Option<UserSession>>,
    holes: Vec<usize>,
}

struct UserSession {
    issued_at: Option<SystemTime>,
    outbound: Arc<Outbound>,
}

/// Why a session may not be its user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserRefusal {
    /// The user was disconnected after the token had been issued.
    Revoked,
    /// The user has as many sessions on this node as one may have.
    Full,
}

impl Users {
    pub fn new(revocations: Revocations) -> Self {
        Self(Arc::new(UsersShared { shards: Sharded::default(), revocations }))
    }

    /// Takes a session in as its user's; given back by the guard's drop. None: it has no user.
    ///
    /// `max`: most sessions of one user.
    ///
    /// In this order nothing is missed: the session is among its user's first, and then it is looked
    /// whether the token is revoked; [`Users::revoke`] notes the revocation first, and then looks who
    /// is among the user's. Whichever comes later sees the other.
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

    /// One more session of the user, whose token was issued at this time. Left by the guard's drop.
    ///
    /// The caller asks [`Revocations::is_revoked`] once more after it; [`Users::admit`] says why.
    pub fn enter(
        &self,
        user: Arc<str>,
        issued_at: Option<SystemTime>,
        outbound: Arc<Outbound>,
    ) -> Entered {
        self.enter_within(user, issued_at, outbound, usize::MAX).expect("there is no bound")
    }

    /// The same, unless the user has `max` sessions here: then [`UserRefusal::Full`].
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
        let place = shard.entry(user.clone()).or_default().add(UserSession { issued_at, outbound });
        drop(shard);
        Ok(Entered { users: self.clone(), user, place })
    }

    /// How many sessions the user has here.
    pub fn count(&self, user: &str) -> usize {
        self.0.shards.of(user).get(user).map_or(0, Sessions::len)
    }

    /// From here on the user's tokens issued until `before`, in Unix milliseconds, are refused, and
    /// the sessions that came with one are closed. Returns how many.
    ///
    /// What is known already costs one look-up: its sessions are gone.
    pub fn revoke(&self, user: &str, before: u64) -> usize {
        match self.0.revocations.revoke(user, before) {
            true => self.revoked(user, before),
            false => 0,
        }
    }

    /// Closes the user's sessions whose tokens were issued until `before`. Returns how many.
    pub fn revoked(&self, user: &str, before: u64) -> usize {
        let shard = self.0.shards.of(user);
        let over = shard.get(user).map(|sessions| sessions.until(before)).unwrap_or_default();
        drop(shard);
        over.into_iter().filter(|outbound| outbound.close(Close::Revoked)).count()
    }

    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }

    fn leave(&self, user: &str, place: usize) {
        let mut shard = self.0.shards.of(user);
        let Some(sessions) = shard.get_mut(user) else { return };
        sessions.remove(place);
        if sessions.len() == 0 {
            shard.remove(user);
            shrink(&mut shard);
        }
    }
}

impl Sessions {
    fn len(&self) -> usize {
        self.places.len() - self.holes.len()
    }

    fn add(&mut self, session: UserSession) -> usize {
        match self.holes.pop() {
            Some(place) => {
                self.places[place] = Some(session);
                place
            }
            None => {
                if self.places.is_empty() {
                    // Most users have one session; a vector's first growth would make room for four.
                    self.places.reserve_exact(1);
                }
                self.places.push(Some(session));
                self.places.len() - 1
            }
        }
    }

    fn remove(&mut self, place: usize) {
        self.places[place] = None;
        self.holes.push(place);
    }

    /// Those that came with a token issued until then.
    fn until(&self, before: u64) -> Vec<Arc<Outbound>> {
        let sessions = self.places.iter().flatten();
        let over = sessions.filter(|session| is_until(session.issued_at, before));
        over.map(|session| session.outbound.clone()).collect()
    }
}

/// A session's place among its user's. Left by its drop.
pub struct Entered {
    users: Users,
    user: Arc<str>,
    place: usize,
}

impl Entered {
    pub fn user(&self) -> User {
        Some(self.user.clone())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.users.leave(&self.user, self.place);
    }
}

#[cfg(test)]
mod tests;
