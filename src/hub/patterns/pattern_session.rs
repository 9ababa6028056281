//! What deliveries by patterns need of a session: its rights, and the channels to which it is subscribed directly.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::direct_delivery::DirectDelivery;
use crate::auth::Identity;
use crate::publication::{Channel, Position, SessionId};

/// A session with patterns.
pub struct PatternSession {
    id: SessionId,
    identity: RwLock<Option<Arc<Identity>>>,
    channels: Mutex<DirectChannels>,
}

/// How many subscriptions of a channel are remembered, and of how many channels after the last one ended: a delivery that
/// began before the end asks for them.
const RECENT_MAX: usize = 8;
const ENDED_MAX: usize = 256;

/// The channels to which the session is or was subscribed directly.
#[derive(Default)]
struct DirectChannels {
    channels: HashMap<Channel, DirectChannel>,
    /// Those that it has left, oldest first. May contain channels that it has joined again.
    ended: VecDeque<Channel>,
}

#[derive(Default)]
struct DirectChannel {
    /// The newest last.
    recent: Vec<DirectSubscription>,
    is_active: bool,
}

struct DirectSubscription {
    number: u64,
    /// It delivers what follows this position. None: also earlier publications.
    starts_after: Option<Position>,
}

impl DirectChannels {
    fn add(&mut self, channel: &Channel, subscription: DirectSubscription) {
        let direct = self.channels.entry(channel.clone()).or_default();
        if direct.recent.len() == RECENT_MAX {
            direct.recent.remove(0);
        }
        direct.recent.push(subscription);
        direct.is_active = true;
    }

    fn end(&mut self, channel: &Channel, number: u64) {
        let Some(direct) = self.channels.get_mut(channel) else { return };
        if direct.recent.last().is_none_or(|newest| newest.number != number) {
            return;
        }
        direct.is_active = false;
        self.ended.push_back(channel.clone());
        if self.ended.len() > ENDED_MAX
            && let Some(oldest) = self.ended.pop_front()
            && self.channels.get(&oldest).is_some_and(|direct| !direct.is_active)
        {
            self.channels.remove(&oldest);
        }
    }
}

impl PatternSession {
    /// `channels`: its subscriptions to channels, with their numbers.
    pub fn new(
        id: SessionId,
        identity: Option<Arc<Identity>>,
        channels: impl IntoIterator<Item = (Channel, u64)>,
    ) -> Self {
        let mut direct = DirectChannels::default();
        for (channel, number) in channels {
            direct.add(&channel, DirectSubscription { number, starts_after: None });
        }
        Self { id, identity: RwLock::new(identity), channels: Mutex::new(direct) }
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
        self.lock().add(channel, DirectSubscription { number, starts_after });
    }

    pub(super) fn unsubscribed(&self, channel: &Channel, number: u64) {
        self.lock().end(channel, number);
    }

    /// Whether the session gets the publication at this position by its own subscription to the channel.
    pub(super) fn gets_directly(
        &self,
        channel: &str,
        position: Option<Position>,
        direct: &DirectDelivery,
    ) -> bool {
        let Some(subscribers) = &direct.subscribers else { return false };
        let direct_channels = self.lock();
        let own = direct_channels.channels.get(channel);
        own.is_some_and(|own| {
            own.recent.iter().any(|own| {
                // What was published before the subscription began may still be on its way here.
                let is_before = position.is_some_and(|position| own.starts_after >= Some(position));
                !is_before
                    && subscribers.contains(own.number)
                    && !direct.ended.contains(&own.number)
            })
        })
    }

    fn lock(&self) -> MutexGuard<'_, DirectChannels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
