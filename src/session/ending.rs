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
    pub(super) fn leave_for(&mut self, close: Close) {
        if let Some(leaving) = &mut self.leaving {
            leaving.close = close;
            return;
        }
        let leaving = EndingSession::new(close, Instant::now(), self.context.leave_timeout);
        self.leaving = Some(Box::new(leaving));
    }

    /// The same, unless the session is ending already.
    pub(super) fn leave_unless_leaving(&mut self, close: Close) {
        if self.leaving.is_none() {
            self.leave_for(close);
        }
    }

    /// Closes the outbound queue of an ending session that has nothing left to wait for. Returns when to
    /// check again otherwise.
    pub(super) fn leave_or_wait(&mut self) -> Option<Instant> {
        if self.outbound.closing().is_some() {
            return None;
        }
        let echoes_missing = self.echoes_due.wrapping_sub(self.outbound.echoes()) as i32;
        let leaving = self.leaving.as_mut()?;
        let look = leaving.wait(self.in_flight.is_empty(), echoes_missing, Instant::now());
        if look.is_none() {
            let (close, waited) = (leaving.close, leaving.since.elapsed());
            self.leave(close, waited);
        }
        look
    }

    /// Sends the reconnect delay, if the reason has one and the format a message for it, and closes the
    /// queue.
    fn leave(&self, close: Close, waited: Duration) {
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
