//! How long an ending session waits for the broker's answers and for its own publications.

use std::time::Duration;

use tokio::time::Instant;

use crate::close::Close;
use crate::drain;

/// How long an ending session waits for the delivery of its own last publications.
const ECHO_TIMEOUT: Duration = Duration::from_millis(500);

/// How often it checks whether they were delivered.
const ECHO_INTERVAL: Duration = Duration::from_millis(2);

/// A session that is ending: it reads nothing more, and waits for answers and for its own publications.
pub struct EndingSession {
    pub close: Close,
    pub since: Instant,
    deadline: Instant,
}

impl EndingSession {
    /// `timeout`: how long it waits at most.
    pub fn new(close: Close, since: Instant, timeout: Duration) -> Self {
        let timeout = match close.reconnects_after() {
            // The node is draining and must end its sessions within its announced time.
            Some(_) => timeout.min(drain::LEAVE_MAX),
            None => timeout,
        };
        Self { close, since, deadline: since + timeout }
    }

    /// When to check again. None: the session may close now, because all commands are answered and its own
    /// publications were delivered, or the time is over. The broker may confirm a publication a moment before
    /// it delivers it.
    pub fn next_check(
        &mut self,
        all_answered: bool,
        echoes_missing: i32,
        now: Instant,
    ) -> Option<Instant> {
        let mut check_at = self.deadline;
        if all_answered {
            self.deadline = self.deadline.min(now + ECHO_TIMEOUT);
            if echoes_missing <= 0 {
                return None;
            }
            check_at = now + ECHO_INTERVAL;
        }
        (now < self.deadline).then_some(check_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_session_waits_for_answers_and_briefly_for_its_own_publications() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut ending = EndingSession::new(Close::Internal, now, 3 * second);
        assert_eq!(ending.next_check(false, 0, now), Some(now + 3 * second));
        assert_eq!(ending.next_check(true, 1, now), Some(now + ECHO_INTERVAL));
        assert_eq!(ending.next_check(true, 1, now + ECHO_TIMEOUT), None);
        assert_eq!(ending.next_check(true, 0, now), None);
    }
}
