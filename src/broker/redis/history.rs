//! A channel's history in Redis: where it ends, and what stands in it.

pub mod calls;

use ::redis::Value;

use super::questions::{NOT_UNDERSTOOD, Questions, SILENT, TAKES_NO_WRITES};
use crate::broker::contract::Page;
use crate::broker::unavailable::Unavailable;
use crate::publication::{Channel, Position, Publication};
use crate::telemetry;

/// Reads the histories of channels.
pub struct RedisHistory {
    pub questions: Questions,
}

impl RedisHistory {
    /// Where the history of each of these channels ends, in their order. None: Redis keeps none of it.
    pub async fn positions(
        &self,
        channels: &[Channel],
    ) -> Vec<Result<Option<Position>, Unavailable>> {
        let position = |answer| calls::position(&answer).ok_or(NOT_UNDERSTOOD);
        self.ends(channels).await.into_iter().map(|answer| answer.and_then(position)).collect()
    }

    /// Histories are begun where there are none; a server that takes no writes now is asked again without that.
    async fn ends(&self, channels: &[Channel]) -> Vec<Result<Value, Unavailable>> {
        let ask = |function: &'static str, channel: &Channel| {
            let command = calls::end_command(function, &self.questions.context.name(channel));
            (channel.clone(), command)
        };
        let calls = channels.iter().map(|channel| ask(calls::POSITION, channel));
        let mut answers = self.questions.call_each(calls.collect()).await;
        let (places, again): (Vec<_>, Vec<_>) = channels
            .iter()
            .enumerate()
            .filter(|(at, _)| answers[*at] == Err(TAKES_NO_WRITES))
            .map(|(at, channel)| (at, ask(calls::LAST, channel)))
            .unzip();
        if !again.is_empty() {
            for (at, answer) in places.into_iter().zip(self.questions.call_each(again).await) {
                answers[at] = answer;
            }
        }
        answers
    }

    /// A page of a channel's history. Redis has trimmed what is too old.
    pub async fn page(
        &self,
        channel: Channel,
        page: Page,
        count: usize,
    ) -> Result<Vec<Publication>, Unavailable> {
        let context = &self.questions.context;
        if !context.keeps_history(channel.as_str()) {
            return Ok(Vec::new());
        }
        let lane = context.map.lane(&channel).ok_or(SILENT)?;
        let command = calls::page_command(&context.name(&channel), page, count);
        let answer = self.questions.question(&lane, &command).await.map_err(|error| {
            telemetry::broker_did_not_answer(&error);
            SILENT
        })?;
        Ok(calls::publications(answer))
    }
}
