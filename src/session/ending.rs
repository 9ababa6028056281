//! How a session ends in order: it answers all commands and delivers the client's own publications first.

use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use super::ending_session::EndingSession;
use crate::close::Close;
use crate::drain;
use crate::protocol::{Push, Speak};

impl Session {
    /// Starts to end the session: it reads nothing more. A later reason replaces an earlier one.
    pub(super) fn end_for(&mut self, close: Close) {
        if let Some(ending) = &mut self.ending {
            ending.close = close;
            return;
        }
        let ending = EndingSession::new(close, Instant::now(), self.context.ending_timeout);
        self.ending = Some(Box::new(ending));
    }

    /// The same, unless the session is ending already.
    pub(super) fn end_unless_ending(&mut self, close: Close) {
        if self.ending.is_none() {
            self.end_for(close);
        }
    }

    /// Closes the outbound queue of an ending session that has nothing left to wait for. Returns when to
    /// check again otherwise.
    pub(super) fn close_or_wait(&mut self) -> Option<Instant> {
        if self.outbound.closing().is_some() {
            return None;
        }
        let echoes_missing = self.echoes_due.wrapping_sub(self.outbound.echoes()) as i32;
        let ending = self.ending.as_mut()?;
        let check_at = ending.next_check(self.in_flight.is_empty(), echoes_missing, Instant::now());
        if check_at.is_none() {
            let (close, waited) = (ending.close, ending.since.elapsed());
            self.close_queue(close, waited);
        }
        check_at
    }

    /// Sends the reconnect delay, if the reason has one and the format a message for it, and closes the
    /// queue.
    fn close_queue(&self, close: Close, waited: Duration) {
        let reconnect = close
            .reconnects_after()
            .map(|after| drain::left(after, waited, rand::random()))
            .map(|after| Push::Reconnect { after, reason: close.label() })
            .and_then(|push| self.state.protocol().format().push(&push));
        if let Some(reconnect) = reconnect {
            // If the queue has no room for it, the close code is enough.
            let _ = self.outbound.push_own(reconnect);
        }
        self.outbound.close(close);
    }
}
