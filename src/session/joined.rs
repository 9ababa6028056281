//! A channel that a session listens to.

use crate::hub::Subscription;
use crate::presence::Present;
use crate::publication::{Channel, Position};

/// A channel that the session listens to.
pub struct Joined {
    pub subscription: Subscription,
    /// Where the channel's rule keeps presence.
    pub present: Option<Box<Present>>,
}

impl Joined {
    pub fn is_of(&self, channel: &Channel) -> bool {
        self.subscription.channel() == channel
    }
}

/// Where a session comes into a channel.
#[derive(Clone, Copy, Debug, Default)]
pub struct JoinPosition {
    /// Where the channel stands. None: it keeps no history.
    pub position: Option<Position>,
    /// Some where the client gave a position: does it miss nothing?
    pub recovered: Option<bool>,
}
