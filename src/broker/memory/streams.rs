//! Durable streams in memory: their fields, and changes of them in one step with their histories.

use std::sync::PoisonError;

use tokio::time::Instant;

use super::history::locked;
use super::runs::{CheckedRun, MemoryRuns, RunRule};
use crate::broker::streams::{CommitOutcome, FIRST_FIELD, Removal, StoredStream, StreamCommit};
use crate::broker::unavailable::{ENDED, NO_STREAMS, Unavailable};
use crate::publication::{Channel, EndReason, Position};

impl MemoryRuns {
    /// The rule of a channel that may be a stream.
    fn stream_rule(&self, channel: &Channel) -> Result<RunRule, Unavailable> {
        let is_stream = self.rules.of(channel.as_str()).streams;
        self.rule(channel).filter(|_| is_stream).ok_or(NO_STREAMS)
    }

    pub fn stream(
        &self,
        channel: &Channel,
        fields: &[String],
    ) -> Result<StoredStream, Unavailable> {
        self.stream_rule(channel)?;
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let fields = fields.iter().map(|field| self.streams.field(channel, field, now)).collect();
        let bounds = locked(&self.histories).bounds(channel, now);
        let (last, oldest, ended) =
            bounds.map_or((None, None, None), |it| (Some(it.last), it.oldest, it.ended));
        Ok(StoredStream { fields, last, oldest, ended })
    }

    /// Sets when the stream expires that a client has read.
    pub fn use_stream(&self, channel: &Channel) -> Result<(), Unavailable> {
        let rule = self.stream_rule(channel)?;
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.renew_stream(channel, rule);
        Ok(())
    }

    pub fn commit(
        &self,
        channel: &Channel,
        commit: StreamCommit,
    ) -> Result<CommitOutcome, Unavailable> {
        let rule = self.stream_rule(channel)?;
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_current = |(field, value): &(String, Option<String>)| {
            self.streams.field(channel, field, now) == *value
        };
        if !commit.read.iter().all(is_current) {
            return Ok(CommitOutcome::Conflict);
        }
        let has_ended = matches!(self.check_locked(channel, rule), CheckedRun::Ended(_));
        let adds =
            !commit.append.is_empty() || commit.end.is_some() && commit.removal == Removal::Nothing;
        if has_ended && adds {
            return Err(ENDED);
        }
        let inherited = commit.inherited.into_iter().map(|mut publication| {
            publication.signed = true;
            publication
        });
        locked(&self.histories).inherit(channel, inherited.collect(), rule.limits, now);
        if commit.is_new {
            self.streams.locked().remove(channel);
            let first = self.first(channel, rule, now).to_string();
            self.streams.write(channel, vec![(FIRST_FIELD.to_owned(), Some(first))], now);
        }
        self.streams.write(channel, commit.write, now);
        for publication in commit.append {
            self.append(channel, rule, publication);
        }
        let end = commit.end.filter(|_| !has_ended);
        Ok(CommitOutcome::Done(self.finish(channel, rule, end, commit.removal)))
    }

    /// The position before the first publication that is kept; begins a history where there is none.
    fn first(&self, channel: &Channel, rule: RunRule, now: Instant) -> Position {
        let mut histories = locked(&self.histories);
        let oldest = histories.bounds(channel, now).and_then(|bounds| bounds.oldest);
        match oldest {
            Some(oldest) => Position { seq: oldest.seq.saturating_sub(1), ..oldest },
            None => histories.end(channel, rule.limits, now).position,
        }
    }

    /// The last part of a commit. Returns the last position.
    fn finish(
        &self,
        channel: &Channel,
        rule: RunRule,
        end: Option<EndReason>,
        removal: Removal,
    ) -> Option<Position> {
        let now = Instant::now();
        if let Some(reason) = end {
            self.append_end(channel, rule, reason);
        }
        if removal != Removal::Nothing {
            let mut histories = locked(&self.histories);
            let last = histories.bounds(channel, now).map(|bounds| bounds.last);
            histories.remove(channel);
            drop(histories);
            if removal == Removal::Stream {
                self.streams.locked().remove(channel);
            }
            self.renew_unchecked(channel, rule);
            return last;
        }
        let last = locked(&self.histories).end(channel, rule.limits, now).position;
        self.renew_unchecked(channel, rule);
        Some(last)
    }

    /// Also for a stream that has just been created, which is not used yet.
    fn renew_unchecked(&self, channel: &Channel, rule: RunRule) {
        let expiry = self.streams.renew(channel, rule.limits.age / 8 * 9, Instant::now());
        locked(&self.histories).expire_at(channel, expiry);
    }
}
