//! How far Redis has confirmed one channel.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::broker::unavailable::Unavailable;

/// Before a refused channel is asked for again.
pub const REFUSED_PAUSE: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// A channel that is wanted, and who waits for it.
#[derive(Default)]
pub struct WantedChannel {
    pub standing: SubscribeState,
    /// It was confirmed and has been interrupted since.
    pub gap: bool,
    /// How often Redis refused it in a row. Such a channel is asked for by itself, since Redis
    /// refuses a whole command for one channel that it forbids.
    pub refusals: u32,
    pub left_at: Option<Instant>,
    pub waiting: Vec<(Instant, oneshot::Sender<Result<(), Unavailable>>)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubscribeState {
    #[default]
    Fresh,
    /// In the batch of this number.
    Asked(u64),
    Refused,
    Confirmed,
}

impl WantedChannel {
    /// It is to be asked for again, from the start.
    pub fn interrupt(&mut self) {
        self.gap |= self.standing == SubscribeState::Confirmed;
        self.standing = SubscribeState::Fresh;
    }

    /// Returns how long to wait before it is asked for again.
    pub fn refuse(&mut self) -> Duration {
        self.standing = SubscribeState::Refused;
        let pause = REFUSED_PAUSE.pause_after(self.refusals);
        self.refusals = self.refusals.saturating_add(1);
        pause
    }
}
