//! What deliveries by patterns need of a session: its rights, and the channels to which it is subscribed directly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::DirectDelivery;
use crate::auth::Identity;
use crate::publication::{Channel, Position, SessionId};

/// A session with patterns.
pub struct PatternSession {
    id: SessionId,
    identity: RwLock<Option<Arc<Identity>>>,
    /// At most as many as a session may have.
    channels: Mutex<HashMap<Channel, DirectSubscription>>,
}

struct DirectSubscription {
    number: u64,
    /// It delivers what follows this position. None: also earlier publications.
    starts_after: Option<Position>,
}

impl PatternSession {
    /// `channels`: its subscriptions to channels, with their numbers.
    pub fn new(
        id: SessionId,
        identity: Option<Arc<Identity>>,
        channels: impl IntoIterator<Item = (Channel, u64)>,
    ) -> Self {
        let direct = |number| DirectSubscription { number, starts_after: None };
        let channels = channels.into_iter().map(|(channel, number)| (channel, direct(number)));
        let channels = Mutex::new(channels.collect());
        Self { id, identity: RwLock::new(identity), channels }
    }

    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Its rights now.
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It has other rights from now on.
    pub fn set_identity(&self, identity: Option<Arc<Identity>>) {
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    pub(super) fn subscribed(
        &self,
        channel: &Channel,
        number: u64,
        starts_after: Option<Position>,
    ) {
        let direct = DirectSubscription { number, starts_after };
        self.lock().insert(channel.clone(), direct);
    }

    pub(super) fn unsubscribed(&self, channel: &Channel, number: u64) {
        let mut channels = self.lock();
        if channels.get(channel).is_some_and(|direct| direct.number == number) {
            channels.remove(channel);
        }
    }

    /// Whether the session gets the publication at this position by its own subscription to the channel.
    pub(super) fn gets_directly(
        &self,
        channel: &str,
        position: Option<Position>,
        direct: &DirectDelivery,
    ) -> bool {
        let Some(subscribers) = &direct.subscribers else { return false };
        let channels = self.lock();
        channels.get(channel).is_some_and(|own| {
            // What was published before the subscription began may still be on its way here.
            let is_before = position.is_some_and(|position| own.starts_after >= Some(position));
            !is_before && subscribers.contains(own.number) && !direct.ended.contains(&own.number)
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Channel, DirectSubscription>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
