//! How a node ends: told by a signal or at the internal listener, it serves for a while, accepts nothing
//! more, and sends everybody away.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::stop::StopReason;
use crate::drain::{Drain, LEAVE_MAX, Phase};
use crate::fleet::Fleet;
use crate::hub::Hub;
use crate::telemetry;

/// What a close takes beside what a session waits for.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// How long connections that were told to go may take to be gone, after the drain's own period: those that
/// were told last may wait for the broker.
const GONE_TIMEOUT: Duration = LEAVE_MAX.saturating_add(CLOSE_TIME);

/// The same two for somebody at a terminal, who waits: with what is said to the other nodes, 2 s together.
const TERMINAL_PERIOD: Duration = Duration::from_millis(700);
const TERMINAL_GONE_TIMEOUT: Duration = Duration::from_millis(800);

/// How often it is said what is waited for.
const TELL_INTERVAL: Duration = Duration::from_secs(5);

/// How often the drain looks whether all are gone.
const GONE_INTERVAL: Duration = Duration::from_millis(20);

/// At every how manieth look it also looks for some that nobody has told.
const LATE_LOOKS: usize = 10;

/// What a node that ends still has to do.
pub struct Shutdown {
    pub drain: Drain,
    pub hub: Hub,
    pub fleet: Fleet,
    /// The public listener.
    pub accepting: AbortHandle,
}

impl Shutdown {
    /// Waits until the node is told to stop, by `stop` or at the internal listener, and then for its
    /// connections to be gone. Returns how many are not, though they were told.
    ///
    /// An orchestrator may ask for the drain first and send SIGTERM a moment later: that cuts nobody
    /// off, it joins.
    pub async fn wait(self, stop: impl Future<Output = StopReason>) -> usize {
        tokio::pin!(stop);
        let stopped = tokio::select! {
            // Of both at once the signal is the one that joins.
            biased;
            () = self.drain.reached(Phase::Leaving) => None,
            stop = &mut stop => Some(stop),
        };
        let pace = Pace::of(stopped, &self.drain);
        match stopped {
            Some(stop) => self.leave(stop.signal(), pace).await,
            None => tokio::select! {
                remaining = self.leave("POST /api/drain", pace) => remaining,
                hurry = join(&self.drain, stop) => self.close(hurry).await,
            },
        }
    }

    async fn leave(&self, why: &str, pace: Pace) -> usize {
        self.drain.enter(Phase::Leaving);
        let connections = self.hub.registry().connection_count();
        telemetry::draining(why, connections, pace.delay, pace.period, pace.longest());
        let latest = Instant::now() + pace.longest();
        tokio::select! {
            remaining = self.delay_and_close(pace) => remaining,
            never = self.tell(latest) => match never {},
        }
    }

    async fn delay_and_close(&self, pace: Pace) -> usize {
        tokio::select! {
            () = sleep(pace.delay) => {}
            () = self.drain.reached(Phase::Draining) => {}
        }
        self.close(pace).await
    }

    async fn close(&self, pace: Pace) -> usize {
        self.drain.enter(Phase::Draining);
        self.accepting.abort();
        let deadline = Instant::now() + pace.period + pace.gone_timeout;
        self.drain.close_all(self.hub.registry().connections(), pace.period).await;
        let remaining = self.gone(deadline).await;
        self.fleet.leave(&self.hub).await;
        remaining
    }

    /// Says now and then what the node still waits for.
    async fn tell(&self, latest: Instant) -> Infallible {
        loop {
            sleep(TELL_INTERVAL).await;
            let left = latest.saturating_duration_since(Instant::now());
            telemetry::still_draining(self.hub.registry().connection_count(), left);
        }
    }

    /// Waits until the deadline for all connections to end; returns how many did not.
    async fn gone(&self, deadline: Instant) -> usize {
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

/// How fast a node leaves.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// How long it serves on before connections are closed.
    delay: Duration,
    /// Over how long the closes are spread.
    period: Duration,
    /// How long connections may take to be gone after that.
    gone_timeout: Duration,
}

impl Pace {
    /// `stop`: the signal. None: it was asked for at the internal listener.
    fn of(stop: Option<StopReason>, drain: &Drain) -> Self {
        let config = drain.config();
        let (delay, period) = (config.delay, config.period);
        match stop {
            None | Some(StopReason::Terminate) => {
                Self { delay, period, gone_timeout: GONE_TIMEOUT }
            }
            Some(StopReason::Interrupt) => {
                Self { delay: Duration::ZERO, period, gone_timeout: GONE_TIMEOUT }
            }
            Some(StopReason::TerminalInterrupt) => Self {
                delay: Duration::ZERO,
                period: period.min(TERMINAL_PERIOD),
                gone_timeout: TERMINAL_GONE_TIMEOUT,
            },
        }
    }

    /// How long all of it takes at most.
    fn longest(self) -> Duration {
        self.delay + self.period + self.gone_timeout
    }
}

/// The first signal joins a drain that was asked for; somebody at a keyboard does not wait for balancers. Returns
/// only if the rest is to go faster.
async fn join(drain: &Drain, stop: Pin<&mut impl Future<Output = StopReason>>) -> Pace {
    let stop = stop.await;
    telemetry::draining_already(stop.signal());
    match stop {
        StopReason::Terminate => pending().await,
        StopReason::Interrupt => {
            drain.enter(Phase::Draining);
            pending().await
        }
        StopReason::TerminalInterrupt => Pace::of(Some(stop), drain),
    }
}
