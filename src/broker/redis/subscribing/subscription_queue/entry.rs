//! The subscription state of one channel.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::broker::unavailable::Unavailable;

/// Pause before a refused channel is requested again.
pub const REFUSED_PAUSE: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// A wanted channel, and the subscribers that wait for it.
#[derive(Default)]
pub struct WantedChannel {
    pub state: SubscribeState,
    /// It was confirmed and has been interrupted since.
    pub gap: bool,
    /// Consecutive refusals by Redis. Such a channel is requested in a command of its own, because
    /// Redis refuses a whole command for one forbidden channel.
    pub refusals: u32,
    pub unsubscribed_at: Option<Instant>,
    pub waiters: Vec<(Instant, oneshot::Sender<Result<(), Unavailable>>)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubscribeState {
    #[default]
    Pending,
    /// In the batch with this number.
    Sent(u64),
    Refused,
    Confirmed,
}

impl WantedChannel {
    /// Makes the channel pending again.
    pub fn interrupt(&mut self) {
        self.gap |= self.state == SubscribeState::Confirmed;
        self.state = SubscribeState::Pending;
    }

    /// Returns the pause before it is requested again.
    pub fn refuse(&mut self) -> Duration {
        self.state = SubscribeState::Refused;
        let pause = REFUSED_PAUSE.pause_after(self.refusals);
        self.refusals = self.refusals.saturating_add(1);
        pause
    }
}
