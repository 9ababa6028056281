//! How a session ends on good terms: what its client asked for is answered, and what it published has come back.

use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use super::ending_session::EndingSession;
use crate::close::Close;
use crate::drain;
use crate::protocol::{Push, Speak};

impl Session {
    /// From here on nothing more is read. A later reason replaces an earlier one.
    pub(super) fn leave_for(&mut self, close: Close) {
        if let Some(leaving) = &mut self.leaving {
            leaving.close = close;
            return;
        }
        let leaving = EndingSession::new(close, Instant::now(), self.context.leave_timeout);
        self.leaving = Some(Box::new(leaving));
    }

    /// The same, unless it leaves already.
    pub(super) fn leave_unless_leaving(&mut self, close: Close) {
        if self.leaving.is_none() {
            self.leave_for(close);
        }
    }

    /// Ends a session that leaves and has nothing to wait for. Some: when it is to look again.
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

    /// Says when to come back, where the client is told, and ends.
    fn leave(&self, close: Close, waited: Duration) {
        let reconnect = close
            .reconnects_after()
            .map(|after| drain::left(after, waited, rand::random()))
            .map(|after| Push::Reconnect { after, reason: close.label() })
            .and_then(|push| self.state.protocol().format().push(&push));
        if let Some(reconnect) = reconnect {
            // Where there is no room for it, the close itself says enough.
            let _ = self.outbound.push_own(reconnect);
        }
        self.outbound.close(close);
    }
}
