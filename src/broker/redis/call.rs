//! Questions to the functions, many in one go, each to the master that has its channel.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Pipeline, RedisError, Value};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::lane::Lane;
use super::routing::PastHistory;
use super::verdict::{self, Cause};
use super::{Redis, SILENT};
use crate::broker::{Page, Unavailable};
use crate::publication::{Channel, Publication};
use crate::telemetry;

use super::history;

/// Most questions in one pipeline, so that live traffic gets its turn between two of them.
const CALLS_MAX: usize = 250;

/// How long a master that cannot answer yet is asked again, and how often. Other rules take effect
/// within that time.
const BUSY_TIME_MAX: Duration = Duration::from_millis(1500);
const BUSY_PAUSE: Duration = Duration::from_millis(50);

const REFUSED: Unavailable = Unavailable("redis refused the question");

/// The question would have written, and the server takes no writes now.
const TAKES_NO_WRITES: Unavailable = Unavailable("redis takes no writes now");

impl Redis {
    /// Asks each question of the master that has its channel; one answer each, in their order.
    pub(super) async fn call_each(
        &self,
        calls: Vec<(Channel, Cmd)>,
    ) -> Vec<Result<Value, Unavailable>> {
        let (channels, commands): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
        let mut answers: Vec<_> = commands.iter().map(|_| Err(SILENT)).collect();
        // All masters at once: one that hangs holds up nobody's channels but its own.
        let by_lane = self.0.map.by_lane(&channels).into_iter().filter_map(|(lane, some)| {
            let places: Vec<_> = some.into_iter().map(|(at, _)| at).collect();
            Some(self.ask_lane(lane?, places, &commands))
        });
        for (at, answer) in join_all(by_lane).await.into_iter().flatten() {
            answers[at] = answer;
        }
        answers
    }

    /// Asks one master those of the commands that stand at these places.
    async fn ask_lane(
        &self,
        lane: Arc<Lane>,
        places: Vec<usize>,
        commands: &[Cmd],
    ) -> Vec<(usize, Result<Value, Unavailable>)> {
        let mut answers = Vec::with_capacity(places.len());
        for some in places.chunks(CALLS_MAX) {
            let asked: Vec<_> = some.iter().map(|at| &commands[*at]).collect();
            answers.extend(some.iter().copied().zip(self.ask(&lane, &asked).await));
        }
        answers
    }

    /// Asks one master; a second time where it has lost the functions.
    async fn ask(&self, lane: &Lane, commands: &[&Cmd]) -> Vec<Result<Value, Unavailable>> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        commands.iter().for_each(|command| _ = pipeline.add_command((*command).clone()));
        let mut installed = false;
        let began = Instant::now();
        loop {
            let answers = match lane.query_each(&pipeline).await {
                Ok(answers) => answers,
                Err(error) => {
                    telemetry::broker_did_not_answer(&error);
                    return vec![Err(SILENT); commands.len()];
                }
            };
            let refusal = answers.iter().find_map(|answer| answer.as_ref().err());
            let cause = refusal.and_then(|error| {
                Cause::of(error.code().unwrap_or_default(), error.detail().unwrap_or_default())
            });
            if cause == Some(Cause::NoFunction) && !installed {
                installed = true;
                let changes_nothing = self.0.is_visitor;
                if !changes_nothing && self.0.install(lane, &PastHistory::default()).await.is_ok() {
                    continue;
                }
            }
            if cause == Some(Cause::Busy) && began.elapsed() < BUSY_TIME_MAX {
                sleep(BUSY_PAUSE).await;
                continue;
            }
            if let Some(error) = refusal.filter(|_| cause.is_none()) {
                telemetry::broker_refused("FCALL", "", error);
            }
            return answers.into_iter().map(|answer| answer.map_err(|error| why(&error))).collect();
        }
    }

    /// Where the histories of these channels end. They are begun where there are none; a server that takes
    /// no writes now is asked again without that.
    pub(super) async fn ends(&self, channels: &[Channel]) -> Vec<Result<Value, Unavailable>> {
        let ask = |function: &'static str, channel: &Channel| {
            let command = history::end_command(function, &self.0.name(channel));
            (channel.clone(), command)
        };
        let calls = channels.iter().map(|channel| ask(history::POSITION, channel));
        let mut answers = self.call_each(calls.collect()).await;
        let (places, again): (Vec<_>, Vec<_>) = channels
            .iter()
            .enumerate()
            .filter(|(at, _)| answers[*at] == Err(TAKES_NO_WRITES))
            .map(|(at, channel)| (at, ask(history::LAST, channel)))
            .unzip();
        if !again.is_empty() {
            for (at, answer) in places.into_iter().zip(self.call_each(again).await) {
                answers[at] = answer;
            }
        }
        answers
    }

    /// A page of a channel's history. Redis has trimmed what is too old.
    pub(super) async fn page(
        &self,
        channel: Channel,
        page: Page,
        count: usize,
    ) -> Result<Vec<Publication>, Unavailable> {
        if !self.0.keeps_history(channel.as_str()) {
            return Ok(Vec::new());
        }
        let lane = self.0.map.lane(&channel).ok_or(SILENT)?;
        let command = history::page_command(&self.0.name(&channel), page, count);
        let answer: Value = lane.query(&command).await.map_err(|error| {
            telemetry::broker_did_not_answer(&error);
            SILENT
        })?;
        Ok(history::publications(answer))
    }
}

fn why(error: &RedisError) -> Unavailable {
    match error.code().is_some_and(verdict::refuses_writes) {
        true => TAKES_NO_WRITES,
        false => REFUSED,
    }
}
