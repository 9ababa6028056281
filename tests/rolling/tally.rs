//! What clients count beside what they hear.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use crate::client::CloseCause;

/// Reasons kept of each kind.
const REASONS_MAX: usize = 20;

/// Of all clients together.
#[derive(Default)]
pub struct Tally {
    /// Connections that a leaving node closed after it had said when to come back.
    pub advised: AtomicUsize,
    /// The same without such a word.
    pub unadvised: AtomicUsize,
    returns: Mutex<Vec<Return>>,
    faults: Mutex<Faults>,
}

/// A client that was told when to come back has come back.
#[derive(Clone, Copy, Debug)]
pub struct Return {
    pub due: Instant,
    /// Its handshake is over.
    pub open: Instant,
}

/// What must not be.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    pub refused: usize,
    pub broken: usize,
    /// The first of them.
    pub reasons: Vec<String>,
}

impl Tally {
    /// A client is open again that was due at this moment.
    pub fn returned(&self, due: Instant) {
        let mut returns = self.returns.lock().expect("nobody panics with the returns");
        returns.push(Return { due, open: Instant::now() });
    }

    /// Those that were open again since this moment.
    pub fn returns_since(&self, moment: Instant) -> Vec<Return> {
        let returns = self.returns.lock().expect("nobody panics with the returns");
        returns.iter().filter(|it| it.open >= moment).copied().collect()
    }

    /// A handshake came to nothing.
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
        self.faults.lock().expect("nobody panics with the faults")
    }
}

impl Faults {
    fn keep(&mut self, reason: String) {
        if self.reasons.len() < REASONS_MAX {
            self.reasons.push(reason);
        }
    }
}
