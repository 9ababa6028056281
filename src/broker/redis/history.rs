//! A channel's history in Redis: its last position, and its pages.

pub mod calls;

use ::redis::Value;

use super::queries::{NO_REPLY, Queries, READ_ONLY, UNEXPECTED_REPLY};
use crate::broker::contract::Page;
use crate::broker::run::HistoryEnd;
use crate::broker::unavailable::Unavailable;
use crate::publication::{Channel, Position, Publication};
use crate::telemetry;

/// Reads the histories of channels.
pub struct RedisHistory {
    pub queries: Queries,
}

impl RedisHistory {
    /// Where each channel's history ends, in their order. `None`: Redis keeps no history of the channel.
    pub async fn positions(
        &self,
        channels: &[Channel],
    ) -> Vec<Result<Option<HistoryEnd>, Unavailable>> {
        let end = |answer| calls::end(&answer).ok_or(UNEXPECTED_REPLY);
        self.end_positions(channels).await.into_iter().map(|answer| answer.and_then(end)).collect()
    }

    /// Starts histories where there are none. A server that takes no writes now is asked again with
    /// a read-only function.
    async fn end_positions(&self, channels: &[Channel]) -> Vec<Result<Value, Unavailable>> {
        let call = |function: &'static str, channel: &Channel| {
            let command = calls::end_command(function, &self.queries.context.name(channel));
            (channel.clone(), command)
        };
        let calls = channels.iter().map(|channel| call(calls::POSITION, channel));
        let mut answers = self.queries.call_each(calls.collect()).await;
        let (indices, retries): (Vec<_>, Vec<_>) = channels
            .iter()
            .enumerate()
            .filter(|(at, _)| answers[*at] == Err(READ_ONLY))
            .map(|(at, channel)| (at, call(calls::LAST, channel)))
            .unzip();
        if !retries.is_empty() {
            for (at, answer) in indices.into_iter().zip(self.queries.call_each(retries).await) {
                answers[at] = answer;
            }
        }
        answers
    }

    /// A page of a channel's history. Redis has trimmed expired entries.
    pub async fn page(
        &self,
        channel: Channel,
        page: Page,
        count: usize,
    ) -> Result<Vec<Publication>, Unavailable> {
        let context = &self.queries.context;
        // Redis answers an interval without any id with an error.
        let is_empty = matches!(page, Page::After(Position::MAX) | Page::Before(Position::MIN));
        if is_empty || !context.keeps_history(channel.as_str()) {
            return Ok(Vec::new());
        }
        let lane = context.map.lane(&channel).ok_or(NO_REPLY)?;
        let command = calls::page_command(&context.name(&channel), page, count);
        let answer = self.queries.query(&lane, &command).await.map_err(|error| {
            telemetry::broker_did_not_answer(&error);
            NO_REPLY
        })?;
        Ok(calls::publications(answer))
    }
}
