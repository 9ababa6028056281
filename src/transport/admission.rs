//! How many connections there may be.

use std::sync::Arc;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Descriptors kept back for Redis, listeners, files, and for saying no to one client too many.
const RESERVED_FILES: usize = 64;

/// Raises the open-file limit as far as the system lets us, and returns it.
pub fn open_file_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    limit.current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// Most clients that are told at one time that there is no place for them. Beyond that they are cut
/// off: the reserve must not go into telling.
const REFUSALS_MAX: usize = 32;

/// The places for connections.
pub struct Admission {
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

/// What a new connection gets.
pub enum Admitted {
    /// It may become a session.
    Yes(Place),
    /// It may hear that the node is full.
    No(Place),
}

/// One connection's place, given back by its drop.
pub struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Admission {
    /// `connections_max`: 0 for as many as the open-file limit has room for.
    pub fn new(connections_max: usize) -> Arc<Self> {
        let fit = open_file_limit().saturating_sub(RESERVED_FILES);
        let places = if connections_max == 0 { fit } else { connections_max };
        let places = Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)));
        Arc::new(Self { places, refusals: Arc::new(Semaphore::new(REFUSALS_MAX)) })
    }

    /// None: not even a refusal can be afforded.
    pub fn admit(&self) -> Option<Admitted> {
        match self.places.clone().try_acquire_owned() {
            Ok(place) => Some(Admitted::Yes(Place(place))),
            Err(_) => {
                let refusal = self.refusals.clone().try_acquire_owned().ok()?;
                Some(Admitted::No(Place(refusal)))
            }
        }
    }
}
