//! How a node ends: told by a signal or at the internal listener, it serves for a while, accepts nothing
//! more, and sends everybody away.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::Stop;
use crate::drain::{Drain, LEAVE_MAX, Phase};
use crate::fleet::Fleet;
use crate::hub::Hub;
use crate::telemetry;

/// What a close takes beside what a session waits for.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// How long connections that were told to go may take to be gone, after the drain's own period: those that
/// were told last may wait for the broker.
const GONE_TIMEOUT: Duration = LEAVE_MAX.saturating_add(CLOSE_TIME);

/// How often the drain looks whether all are gone.
const GONE_INTERVAL: Duration = Duration::from_millis(20);

/// At every how manieth look it also looks for some that nobody has told.
const LATE_LOOKS: usize = 10;

/// What a node that ends still has to do.
pub struct Leaving {
    pub drain: Drain,
    pub hub: Hub,
    pub fleet: Fleet,
    /// The public listener.
    pub accepting: AbortHandle,
}

impl Leaving {
    /// Waits until the node is told to stop, by `stop` or at the internal listener, and then for its
    /// connections to be gone. Returns how many are not, though they were told.
    ///
    /// An orchestrator may ask for the drain first and send SIGTERM a moment later: that cuts nobody
    /// off, it joins.
    pub async fn wait(self, stop: impl Future<Output = Stop>) -> usize {
        tokio::pin!(stop);
        let stopped = tokio::select! {
            // Of both at once the signal is the one that joins.
            biased;
            () = self.drain.reached(Phase::Leaving) => None,
            stop = &mut stop => Some(stop),
        };
        match stopped {
            Some(Stop::Terminate) => self.leave("SIGTERM", self.drain.config().delay).await,
            Some(Stop::Interrupt) => self.leave("SIGINT", Duration::ZERO).await,
            None => {
                let leaving = self.leave("POST /api/drain", self.drain.config().delay);
                tokio::select! {
                    remaining = leaving => remaining,
                    never = join(&self.drain, stop) => match never {},
                }
            }
        }
    }

    async fn leave(&self, why: &str, delay: Duration) -> usize {
        self.drain.enter(Phase::Leaving);
        let connections = self.hub.registry().connection_count();
        telemetry::draining(why, connections, delay, self.drain.config().period);
        tokio::select! {
            () = sleep(delay) => {}
            () = self.drain.reached(Phase::Draining) => {}
        }
        self.drain.enter(Phase::Draining);
        self.accepting.abort();
        self.drain.close_all(self.hub.registry().connections()).await;
        let remaining = self.gone().await;
        self.fleet.leave(&self.hub).await;
        remaining
    }

    /// Waits a bounded time for all connections to end; returns how many did not.
    async fn gone(&self) -> usize {
        let deadline = Instant::now() + GONE_TIMEOUT;
        for look in 0.. {
            if self.hub.registry().connection_count() == 0 || Instant::now() >= deadline {
                break;
            }
            // Nobody is let in by now. Should one have slipped through, it is not cut off without a word.
            if look % LATE_LOOKS == 0 {
                self.drain.close_late(self.hub.registry().connections()).await;
            }
            sleep(GONE_INTERVAL).await;
        }
        self.hub.registry().connection_count()
    }
}

/// The first signal joins a drain that was asked for; somebody at a keyboard does not wait for balancers.
async fn join(drain: &Drain, stop: Pin<&mut impl Future<Output = Stop>>) -> Infallible {
    let stop = stop.await;
    telemetry::draining_already(stop.signal());
    if stop == Stop::Interrupt {
        drain.enter(Phase::Draining);
    }
    pending().await
}
