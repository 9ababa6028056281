//! A channel that a session is subscribed to.

use crate::hub::Subscription;
use crate::presence::Present;
use crate::publication::{Channel, Position};

/// A channel that a session is subscribed to.
pub struct Joined {
    pub subscription: Subscription,
    /// Some if the channel's rule keeps presence.
    pub present: Option<Box<Present>>,
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
