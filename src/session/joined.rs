//! A channel that a session is subscribed to.

use super::SessionContext;
use crate::auth::Identity;
use crate::events::Attending;
use crate::hub::Subscription;
use crate::presence::Present;
use crate::publication::{Channel, Position};
use crate::rules::EventKinds;

/// A channel that a session is subscribed to.
pub struct Joined {
    pub subscription: Subscription,
    /// Some if the channel's rule keeps presence or has events.
    pub attendance: Option<Box<ReportedSubscription>>,
}

/// What other services of the node know of a subscription. The drop removes it there.
pub struct ReportedSubscription {
    present: Option<Present>,
    _attending: Option<Attending>,
    /// The rule's events.
    events: EventKinds,
}

impl ReportedSubscription {
    /// Reports a subscription of this identity, or of an anonymous session. None: the channel's rule keeps no presence
    /// and has no events.
    pub fn new(
        context: &SessionContext,
        channel: &Channel,
        identity: Option<&Identity>,
    ) -> Option<Box<Self>> {
        let policy = context.hub.rules().of(channel.as_str());
        let user = identity.and_then(|identity| identity.user.clone());
        let info = identity.and_then(|identity| identity.info.as_ref());
        let attending = context.events.enter(channel, &policy, &user, info);
        let enter = || context.presence.enter(channel.clone(), user, info);
        let present = policy.presence.then(enter);
        let is_reported = present.is_some() || attending.is_some();
        is_reported
            .then(|| Box::new(Self { present, _attending: attending, events: policy.events }))
    }

    /// Whether the rule of the channel asks for other reports now.
    pub fn is_outdated(this: Option<&Self>, context: &SessionContext, channel: &Channel) -> bool {
        let policy = context.hub.rules().of(channel.as_str());
        let reported =
            this.map_or((false, EventKinds::default()), |it| (it.present.is_some(), it.events));
        reported != (policy.presence, policy.events)
    }
}

impl Joined {
    pub fn is_of(&self, channel: &Channel) -> bool {
        self.subscription.channel() == channel
    }
}

/// The position at which a session's subscription to a channel starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct JoinPosition {
    /// The channel's last position. None: the channel keeps no history.
    pub position: Option<Position>,
    /// Some if the client gave a position: whether it gets everything after it.
    pub recovered: Option<bool>,
}
