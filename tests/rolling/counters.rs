//! Counters of the clients, in addition to the logs of received messages.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use crate::client::CloseCause;

/// The most reasons that are kept.
const REASONS_MAX: usize = 20;

/// The counters of all clients together.
#[derive(Default)]
pub struct ClientCounters {
    /// The connections that a draining node closed after it had sent an `after_ms`.
    pub advised: AtomicUsize,
    /// The connections that a draining node closed without an `after_ms`.
    pub unadvised: AtomicUsize,
    reconnects: Mutex<Vec<Reconnect>>,
    faults: Mutex<Faults>,
}

/// The reconnect of a client that had received an `after_ms`.
#[derive(Clone, Copy, Debug)]
pub struct Reconnect {
    /// The time given by `after_ms`.
    pub due: Instant,
    /// The end of the new handshake.
    pub open: Instant,
}

/// Failed handshakes and broken connections; a rolling restart must cause none.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    pub refused: usize,
    pub broken: usize,
    /// The reasons of the first faults.
    pub reasons: Vec<String>,
}

impl ClientCounters {
    /// Records that a client that was due at this time has reconnected now.
    pub fn reconnected(&self, due: Instant) {
        let mut reconnects = self.reconnects.lock().expect("no panic while the lock is held");
        reconnects.push(Reconnect { due, open: Instant::now() });
    }

    /// The reconnects since this time.
    pub fn reconnects_since(&self, moment: Instant) -> Vec<Reconnect> {
        let reconnects = self.reconnects.lock().expect("no panic while the lock is held");
        reconnects.iter().filter(|it| it.open >= moment).copied().collect()
    }

    /// Records a failed handshake.
    pub fn refused(&self, why: String) {
        let mut faults = self.lock();
        faults.refused += 1;
        faults.keep(format!("refused: {why}"));
    }

    pub fn closed(&self, end: &CloseCause, advised: bool) {
        match (end, advised) {
            (CloseCause::Drained, true) => _ = self.advised.fetch_add(1, Relaxed),
            (CloseCause::Drained, false) => _ = self.unadvised.fetch_add(1, Relaxed),
            (CloseCause::Broken(why), _) => {
                let mut faults = self.lock();
                faults.broken += 1;
                faults.keep(format!("broken: {why}"));
            }
        }
    }

    pub fn faults(&self) -> Faults {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("no panic while the lock is held")
    }
}

impl Faults {
    fn keep(&mut self, reason: String) {
        if self.reasons.len() < REASONS_MAX {
            self.reasons.push(reason);
        }
    }
}
