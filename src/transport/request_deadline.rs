//! How long a connection may take between and during its requests.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// How long a connection may stay without a request. Longer than the time after which most load balancers close an
/// idle connection, or they would send a request on one that the node is closing.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(75);

/// What a connection is doing, and until when. Shared by its stream, which sees bytes arrive, and its service.
pub struct RequestDeadline {
    /// How long the head of a request may take from its first byte.
    head_timeout: Duration,
    state: Mutex<DeadlineState>,
}

#[derive(Clone, Copy)]
struct DeadlineState {
    phase: RequestPhase,
    at: Option<Instant>,
    answered: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestPhase {
    /// No byte of the next request has arrived. The last response may still be written.
    Idle,
    /// A request's head is arriving.
    Head,
    /// The service answers a request, and limits the time itself.
    Service,
}

impl RequestDeadline {
    /// For a connection whose first request must have arrived at `first`.
    pub fn new(first: Instant, head_timeout: Duration) -> Self {
        let state = DeadlineState { phase: RequestPhase::Head, at: Some(first), answered: false };
        Self { head_timeout, state: Mutex::new(state) }
    }

    /// For a connection on which a request was answered successfully.
    pub fn after_response(head_timeout: Duration, now: Instant) -> Self {
        let deadline = Self::new(now, head_timeout);
        deadline.request_answered(true, now);
        deadline
    }

    pub fn bytes_arrived(&self, now: Instant) {
        let mut state = self.state();
        if state.phase == RequestPhase::Idle {
            (state.phase, state.at) = (RequestPhase::Head, Some(now + self.head_timeout));
        }
    }

    pub fn request_began(&self) {
        let mut state = self.state();
        (state.phase, state.at) = (RequestPhase::Service, None);
    }

    /// After a refused request the client has no longer for the next one than for a head.
    pub fn request_answered(&self, successfully: bool, now: Instant) {
        let pause = if successfully { KEEP_ALIVE_TIMEOUT } else { self.head_timeout };
        let at = Some(now + pause);
        *self.state() = DeadlineState { phase: RequestPhase::Idle, at, answered: true };
    }

    /// When the connection must be closed. None: not while the service works.
    pub fn at(&self) -> Option<Instant> {
        self.state().at
    }

    /// Whether a request was answered.
    pub fn has_answered(&self) -> bool {
        self.state().answered
    }

    fn state(&self) -> MutexGuard<'_, DeadlineState> {
        self.state.lock().expect("no code panics while it holds the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(10);

    #[test]
    fn each_head_and_each_pause_between_requests_has_its_own_deadline() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let deadline = RequestDeadline::new(at(10), HEAD);
        deadline.bytes_arrived(at(5));
        assert_eq!(deadline.at(), Some(at(10)), "further bytes of the head give no more time");
        deadline.request_began();
        deadline.bytes_arrived(at(6));
        assert_eq!((deadline.at(), deadline.has_answered()), (None, false));
        deadline.request_answered(false, at(10));
        assert_eq!(deadline.at(), Some(at(20)));
        deadline.request_answered(true, at(20));
        assert_eq!((deadline.at(), deadline.has_answered()), (Some(at(95)), true));
        deadline.bytes_arrived(at(30));
        deadline.bytes_arrived(at(35));
        assert_eq!(deadline.at(), Some(at(40)));
        assert_eq!(RequestDeadline::after_response(HEAD, start).at(), Some(at(75)));
    }
}
