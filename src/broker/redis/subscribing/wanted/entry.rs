//! How far Redis has confirmed one channel.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::broker::unavailable::Unavailable;

/// Pauses before a refused channel is asked for again: the first, and the longest.
pub const REFUSED_PAUSE: Duration = Duration::from_millis(100);
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(5);

/// A channel that is wanted, and who waits for it.
#[derive(Default)]
pub struct Entry {
    pub standing: Standing,
    /// It was confirmed and has been interrupted since.
    pub gap: bool,
    /// How often Redis refused it in a row. Such a channel is asked for by itself, since Redis
    /// refuses a whole command for one channel that it forbids.
    pub refusals: u32,
    pub left_at: Option<Instant>,
    pub waiting: Vec<(Instant, oneshot::Sender<Result<(), Unavailable>>)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    #[default]
    Fresh,
    /// In the batch of this number.
    Asked(u64),
    Refused,
    Confirmed,
}

impl Entry {
    /// It is to be asked for again, from the start.
    pub fn interrupt(&mut self) {
        self.gap |= self.standing == Standing::Confirmed;
        self.standing = Standing::Fresh;
    }

    /// Returns how long to wait before it is asked for again.
    pub fn refuse(&mut self) -> Duration {
        self.standing = Standing::Refused;
        let pause = REFUSED_PAUSE * 2u32.pow(self.refusals.min(6));
        self.refusals += 1;
        pause.min(REFUSED_PAUSE_MAX)
    }
}
