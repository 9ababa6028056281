//! The shutdown of a node: after a signal or a request at the internal listener, it serves for a while, stops
//! accepting, and tells all clients to reconnect elsewhere.

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

/// The time of a close handshake, besides the session's wait for the broker.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// How long ending connections may take after the drain's period, because the last ones may still wait for the
/// broker.
const GONE_TIMEOUT: Duration = LEAVE_MAX.saturating_add(CLOSE_TIME);

/// The same two for SIGINT at a terminal: with the notice to the other nodes, 2 s together.
const TERMINAL_PERIOD: Duration = Duration::from_millis(700);
const TERMINAL_GONE_TIMEOUT: Duration = Duration::from_millis(800);

/// How often the node logs that it is still draining.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// How often the node checks whether all connections have ended.
const GONE_INTERVAL: Duration = Duration::from_millis(20);

/// At every tenth check it also closes connections that have not been told yet.
const LATE_LOOKS: usize = 10;

/// The parts of a node that a shutdown needs.
pub struct Shutdown {
    pub drain: Drain,
    pub hub: Hub,
    pub fleet: Fleet,
    /// The listeners of clients.
    pub accepting: Vec<AbortHandle>,
}

impl Shutdown {
    /// Waits for `stop` or a request at the internal listener, and then until the node's connections have
    /// ended. Returns how many have not, although they were told to.
    ///
    /// An orchestrator may request the drain and then send SIGTERM: the signal joins the drain, and cuts no connection
    /// off.
    pub async fn wait(self, stop: impl Future<Output = StopReason>) -> usize {
        tokio::pin!(stop);
        let stopped = tokio::select! {
            // If both happen together, the signal joins the requested drain.
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
            never = self.log_progress(latest) => match never {},
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
        self.accepting.iter().for_each(AbortHandle::abort);
        let deadline = Instant::now() + pace.period + pace.gone_timeout;
        self.drain.close_all(self.hub.registry().connections(), pace.period).await;
        let remaining = self.gone(deadline).await;
        self.fleet.leave(&self.hub).await;
        remaining
    }

    /// Logs regularly that the node is still draining.
    async fn log_progress(&self, latest: Instant) -> Infallible {
        loop {
            sleep(LOG_INTERVAL).await;
            let left = latest.saturating_duration_since(Instant::now());
            telemetry::still_draining(self.hub.registry().connection_count(), left);
        }
    }

    /// Waits until all connections have ended, or the deadline; returns how many have not.
    async fn gone(&self, deadline: Instant) -> usize {
        for look in 0.. {
            if self.hub.registry().connection_count() == 0 || Instant::now() >= deadline {
                break;
            }
            // The node accepts no connections now. If one was still accepted, it is closed properly too.
            if look % LATE_LOOKS == 0 {
                self.drain.close_late(self.hub.registry().connections()).await;
            }
            sleep(GONE_INTERVAL).await;
        }
        self.hub.registry().connection_count()
    }
}

/// The times of a shutdown.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// How long the node still serves before it closes connections.
    delay: Duration,
    /// The time over which closes are spread.
    period: Duration,
    /// How long connections may take to end after that.
    gone_timeout: Duration,
}

impl Pace {
    /// `stop`: the signal. None: a request at the internal listener.
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

    /// The longest time of the whole shutdown.
    fn longest(self) -> Duration {
        self.delay + self.period + self.gone_timeout
    }
}

/// A first signal joins a requested drain. SIGINT skips its delay. Returns only if SIGINT at a terminal makes the rest
/// faster.
async fn join(drain: &Drain, stop: Pin<&mut impl Future<Output = StopReason>>) -> Pace {
    let stop = stop.await;
    telemetry::already_draining(stop.signal());
    match stop {
        StopReason::Terminate => pending().await,
        StopReason::Interrupt => {
            drain.enter(Phase::Draining);
            pending().await
        }
        StopReason::TerminalInterrupt => Pace::of(Some(stop), drain),
    }
}
