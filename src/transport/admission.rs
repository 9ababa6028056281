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

/// The places for connections.
pub struct Admission {
    places: Arc<Semaphore>,
}

/// One connection's place, given back by its drop.
pub struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Admission {
    /// `connections_max`: 0 for as many as the open-file limit has room for.
    pub fn new(connections_max: usize) -> Arc<Self> {
        let fit = open_file_limit().saturating_sub(RESERVED_FILES);
        let places = if connections_max == 0 { fit } else { connections_max };
        let places = Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)));
        Arc::new(Self { places })
    }

    /// None: the node is full.
    pub fn place(&self) -> Option<Place> {
        self.places.clone().try_acquire_owned().ok().map(Place)
    }
}
