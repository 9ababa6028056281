//! The task that writes a node's events, renews what the node holds, and removes what dead nodes held.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::state::{EventsState, StopStage};
use crate::broker::{EVENT_CHANGES_MAX, EventBatch, EventLog, Unavailable};
use crate::publication::NodeId;
use crate::telemetry;

/// How often a node renews what it holds within the time to live. Redis counts a node as alive for 0.6 of it, so one
/// renewal may be lost, and the next node that renews detects a dead one in time.
const RENEWALS_PER_TTL: u32 = 4;

/// The pause after a failed broker call.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long changes are gathered into one batch, unless it is full before.
const GATHER_TIME: Duration = Duration::from_millis(5);

/// Writes a node's events, one call at a time.
pub struct Writer {
    state: Arc<EventsState>,
    log: Box<dyn EventLog>,
    ttl: Duration,
    grace: Duration,
    renew_at: Instant,
    /// The number of the last batch that the broker has.
    written: Option<u64>,
    /// The batch that the broker does not have for certain.
    pending: Option<EventBatch>,
    sweep_cursor: u64,
    /// Nodes whose items are to be removed. At most those of one renewal.
    dead: VecDeque<NodeId>,
}

/// The outcome of a round of calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RoundOutcome {
    /// There was nothing to do.
    Nothing,
    Done,
}

impl Writer {
    pub fn new(
        state: Arc<EventsState>,
        log: Box<dyn EventLog>,
        ttl: Duration,
        grace: Duration,
    ) -> Self {
        let renew_at = Instant::now() + ttl / RENEWALS_PER_TTL;
        let (pending, dead) = (None, VecDeque::new());
        Self { state, log, ttl, grace, renew_at, written: None, pending, sweep_cursor: 0, dead }
    }

    /// Runs until the node stops. Wakes for a change, the end of a grace period, and the next renewal.
    pub async fn run(mut self) {
        while *self.state.stop.borrow() == StopStage::Running {
            match self.round().await {
                Ok(RoundOutcome::Done) => self.gather().await,
                Ok(RoundOutcome::Nothing) => {
                    let grace_end = self.state.local().next_grace_end();
                    let wake_at = grace_end.map_or(self.renew_at, |end| end.min(self.renew_at));
                    tokio::select! {
                        () = self.state.changed.notified() => self.gather().await,
                        () = sleep_until(wake_at) => {}
                    }
                }
                Err(Unavailable(_)) => tokio::select! {
                    () = sleep(RETRY_PAUSE) => {}
                    () = self.stopping() => {}
                },
            }
        }
        self.leave().await;
        self.state.stop.send_replace(StopStage::Stopped);
        // The node ends with its other tasks.
        std::future::pending::<()>().await;
    }

    /// Resolves once the node stops.
    async fn stopping(&self) {
        let mut stop = self.state.stop.subscribe();
        // `Err`: the sender is gone, which it is not while `self` exists.
        let _ = stop.wait_for(|stage| *stage != StopStage::Running).await;
    }

    /// Waits a moment for more changes, so that a call carries several.
    async fn gather(&self) {
        if self.state.local().queued() < EVENT_CHANGES_MAX {
            sleep(GATHER_TIME).await;
        }
    }

    /// One call of each kind that is due.
    async fn round(&mut self) -> Result<RoundOutcome, Unavailable> {
        let waiting = self.pending.as_ref().map_or(0, |batch| batch.changes.len());
        telemetry::events_queued(self.state.local().queued() + waiting);
        let mut outcome = RoundOutcome::Nothing;
        if Instant::now() >= self.renew_at {
            self.renew().await?;
            self.renew_at = Instant::now() + self.ttl / RENEWALS_PER_TTL;
            outcome = RoundOutcome::Done;
        }
        if let Some(batch) = self.next_batch() {
            self.write(batch).await?;
            outcome = RoundOutcome::Done;
        }
        let sweep_due = self.state.local().sweep_due();
        if let Some(generation) = sweep_due.filter(|_| self.pending.is_none()) {
            self.sweep(generation).await?;
            outcome = RoundOutcome::Done;
        }
        if let Some(node) = self.dead.pop_front() {
            if self.log.remove(node).await? {
                self.dead.push_front(node);
            }
            outcome = RoundOutcome::Done;
        }
        Ok(outcome)
    }

    fn next_batch(&mut self) -> Option<EventBatch> {
        let mut local = self.state.local();
        local.restart_if_ends_are_lost();
        self.pending.take().or_else(|| local.take_batch(Instant::now()))
    }

    async fn write(&mut self, batch: EventBatch) -> Result<(), Unavailable> {
        match self.log.write(&batch).await {
            Ok(true) => {
                self.written = Some(batch.number);
                telemetry::events_written(batch.changes.len());
            }
            Ok(false) => {
                self.sweep_cursor = 0;
                self.pending = Some(self.state.local().refused(batch));
            }
            Err(why) => {
                self.pending = Some(batch);
                return Err(why);
            }
        }
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), Unavailable> {
        let renewal = self.log.renew().await?;
        telemetry::events_written(0);
        self.dead = renewal.dead.into();
        let sent = self.pending.as_ref().map(|batch| batch.number);
        if renewal.number.is_none() || ![self.written, sent].contains(&renewal.number) {
            // A failover or a restart of Redis has lost what the node wrote, or the node counted as dead.
            self.sweep_cursor = 0;
            let mut local = self.state.local();
            match self.pending.take() {
                Some(batch) => self.pending = Some(local.refused(batch)),
                None => local.restart(),
            }
        }
        Ok(())
    }

    async fn sweep(&mut self, generation: u64) -> Result<(), Unavailable> {
        self.sweep_cursor = self.log.sweep(generation, self.sweep_cursor).await?;
        if self.sweep_cursor == 0 {
            self.state.local().swept(generation);
        }
        Ok(())
    }

    /// Writes the rest, and hands over what the node still holds: to the other nodes, or to the stream if there are
    /// none. [`Events::finish`](super::Events::finish) bounds the time.
    async fn leave(&mut self) {
        while let Some(batch) = self.next_batch() {
            if self.write(batch).await.is_err() {
                sleep(RETRY_PAUSE / 10).await;
            }
        }
        if self.log.leave(self.grace).await == Ok(false) {
            let node = self.state.local().node();
            while self.log.remove(node).await == Ok(true) {}
        }
    }
}
