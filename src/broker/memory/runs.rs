//! Runs in memory.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::history::{Appended, Histories, StoredRun, locked};
use super::stream_table::StreamTable;
use crate::broker::event::{BrokerEvent, Sink};
use crate::broker::run::{HistoryEnd, RunState};
use crate::broker::unavailable::{ENDED, NO_RUN, Unavailable};
use crate::publication::{Channel, EndReason, Position, Publication};
use crate::rules::{History, Rules};

/// Publishes on the channels of runs, ends the runs and checks their leases. Cheap to clone.
#[derive(Clone)]
pub struct MemoryRuns {
    pub histories: Arc<Mutex<Histories>>,
    pub streams: Arc<StreamTable>,
    pub rules: Rules,
    pub sink: Sink,
    pub idempotency_window: Duration,
    /// Held from the append to the end of the delivery, because several tasks publish.
    pub order: Arc<Mutex<()>>,
}

/// What the rule of a run's channel keeps.
#[derive(Clone, Copy)]
pub struct RunRule {
    pub limits: History,
    pub lease: Duration,
}

/// The state of a run that has been checked.
pub enum CheckedRun {
    None,
    Open(Duration),
    Ended(HistoryEnd),
}

impl MemoryRuns {
    /// None: the channel carries no runs.
    pub fn rule(&self, channel: &Channel) -> Option<RunRule> {
        let policy = self.rules.of(channel.as_str());
        Some(RunRule { limits: policy.history?, lease: policy.run?.lease })
    }

    /// Publishes on the run; with `end` in the publication, ends it.
    pub fn publish(
        &self,
        channel: &Channel,
        rule: RunRule,
        mut publication: Publication,
    ) -> Result<Option<Position>, Unavailable> {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = publication.end.take();
        let before = locked(&self.histories).duplicate(
            channel,
            &publication,
            self.idempotency_window,
            Instant::now(),
        );
        if reason.is_none() && before.is_some() {
            return Ok(before);
        }
        match (self.check_locked(channel, rule), &reason) {
            (CheckedRun::Ended(_), _) => return Err(ENDED),
            (CheckedRun::None, Some(_)) => return Err(NO_RUN),
            _ => {}
        }
        let mut position = None;
        if reason.is_none() || !publication.payload.is_empty() {
            position = self.append(channel, rule, publication);
        }
        if let Some(reason) = reason {
            return Ok(self.append_end(channel, rule, reason));
        }
        let until = Instant::now() + rule.lease / 8 * 9;
        locked(&self.histories).set_lease(channel, rule.limits, until);
        self.renew_stream(channel, rule);
        Ok(position)
    }

    /// Sets when the stream on the channel, if there is one, and its history expire.
    pub fn renew_stream(&self, channel: &Channel, rule: RunRule) {
        let now = Instant::now();
        if !self.streams.has(channel, now) {
            return;
        }
        let expiry = self.streams.renew(channel, rule.limits.age / 8 * 9, now);
        locked(&self.histories).expire_at(channel, expiry);
    }

    /// Renews the lease. Returns how long it lasts.
    pub fn renew(&self, channel: &Channel) -> Result<Duration, Unavailable> {
        let rule = self.rule(channel).ok_or(NO_RUN)?;
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        match self.check_locked(channel, rule) {
            CheckedRun::None => Err(NO_RUN),
            CheckedRun::Ended(_) => Err(ENDED),
            CheckedRun::Open(_) => {
                let lease = rule.lease / 8 * 9;
                locked(&self.histories).set_lease(channel, rule.limits, Instant::now() + lease);
                Ok(lease)
            }
        }
    }

    /// Ends the run if its lease is over.
    pub fn check(&self, channel: &Channel) -> RunState {
        let Some(rule) = self.rule(channel) else { return RunState::None };
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        match self.check_locked(channel, rule) {
            CheckedRun::None => RunState::None,
            CheckedRun::Open(left) => RunState::Open(left),
            CheckedRun::Ended(end) => RunState::Ended(end.position),
        }
    }

    /// The caller holds `order`.
    pub fn check_locked(&self, channel: &Channel, rule: RunRule) -> CheckedRun {
        let now = Instant::now();
        let stored = locked(&self.histories).run(channel, now);
        match stored {
            // A client has created it, and it lives for as long as that client said.
            StoredRun::None | StoredRun::Lapsed if self.streams.has(channel, now) => {
                CheckedRun::Open(rule.lease / 8 * 9)
            }
            StoredRun::None => CheckedRun::None,
            StoredRun::Open(left) => CheckedRun::Open(left),
            StoredRun::Ended(end) => CheckedRun::Ended(end),
            StoredRun::Lapsed => {
                let reason = EndReason::abandoned();
                match self.append_end(channel, rule, reason.clone()) {
                    Some(position) => {
                        CheckedRun::Ended(HistoryEnd { position, ended: Some(reason) })
                    }
                    None => CheckedRun::None,
                }
            }
        }
    }

    pub fn append_end(
        &self,
        channel: &Channel,
        rule: RunRule,
        reason: EndReason,
    ) -> Option<Position> {
        let end = Publication { end: Some(reason), ..Publication::bare(Bytes::new()) };
        self.append(channel, rule, Publication { signed: true, ..end.sent_now() })
    }

    /// Appends and delivers.
    pub fn append(
        &self,
        channel: &Channel,
        rule: RunRule,
        publication: Publication,
    ) -> Option<Position> {
        let (window, now) = (self.idempotency_window, Instant::now());
        let appended =
            locked(&self.histories).append(channel, publication, rule.limits, window, now);
        let publication = match appended {
            Appended::New(publication) => publication,
            Appended::Duplicate(position) => return Some(position),
        };
        let position = publication.position;
        let event =
            BrokerEvent::Publication { channel: channel.as_str(), publication, more: false };
        (self.sink)(event);
        position
    }
}
