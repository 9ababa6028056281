//! When channels deliver what they have joined.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::pending;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::time::sleep_until;

use crate::publication::Channel;

/// The times that are not yet due, at most one for each channel in use.
#[derive(Default)]
pub struct RollupTimers {
    times: Mutex<BinaryHeap<Reverse<(Instant, Channel)>>>,
    /// Notified when an earlier time was added.
    changed: Notify,
}

impl RollupTimers {
    pub fn add(&self, at: Instant, channel: Channel) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = times.peek().is_none_or(|Reverse((first, _))| at < *first);
        times.push(Reverse((at, channel)));
        drop(times);
        if is_first {
            self.changed.notify_one();
        }
    }

    pub fn take_due(&self, now: Instant) -> Option<Channel> {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.peek().filter(|Reverse((at, _))| *at <= now)?;
        let channel = times.pop().map(|Reverse((_, channel))| channel);
        if times.is_empty() {
            *times = BinaryHeap::new();
        }
        channel
    }

    /// Waits until the first time may be due.
    pub async fn wait(&self) {
        let first = {
            let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
            times.peek().map(|Reverse((at, _))| *at)
        };
        tokio::select! {
            () = async { match first {
                Some(at) => sleep_until(at.into()).await,
                None => pending().await,
            } } => {}
            () = self.changed.notified() => {}
        }
    }
}
