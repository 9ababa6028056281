//! Questions to the functions, many in one go, each to the master that has its channel.

use ::redis::{Cmd, Pipeline, Value};

use super::lane::Lane;
use super::verdict::Cause;
use super::{Redis, SILENT};
use crate::broker::{Page, Unavailable};
use crate::publication::{Channel, Publication};
use crate::telemetry;

use super::history;

/// Most questions in one pipeline, so that live traffic gets its turn between two of them.
const CALLS_MAX: usize = 250;

const REFUSED: Unavailable = Unavailable("redis refused the question");

impl Redis {
    /// Asks each question of the master that has its channel; one answer each, in their order.
    pub(super) async fn call_each(
        &self,
        calls: Vec<(Channel, Cmd)>,
    ) -> Vec<Result<Value, Unavailable>> {
        let (channels, commands): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
        let mut answers: Vec<_> = commands.iter().map(|_| Err(SILENT)).collect();
        for (lane, some) in self.0.map.by_lane(&channels) {
            let Some(lane) = lane else { continue };
            for some in some.chunks(CALLS_MAX) {
                let asked: Vec<_> = some.iter().map(|(at, _)| &commands[*at]).collect();
                let answered = self.ask(&lane, &asked).await;
                for ((at, _), answer) in some.iter().zip(answered) {
                    answers[*at] = answer;
                }
            }
        }
        answers
    }

    /// Asks one master; a second time where it has lost the functions.
    async fn ask(&self, lane: &Lane, commands: &[&Cmd]) -> Vec<Result<Value, Unavailable>> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        commands.iter().for_each(|command| _ = pipeline.add_command((*command).clone()));
        let mut installed = false;
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
                if lane.install(&self.0.library).await.is_ok() {
                    continue;
                }
            }
            if let Some(error) = refusal.filter(|_| cause.is_none()) {
                telemetry::broker_refused("FCALL", error);
            }
            return answers.into_iter().map(|answer| answer.map_err(|_| REFUSED)).collect();
        }
    }

    /// A page of a channel's history. What is too old is left out, and does not make it short.
    pub(super) async fn page(
        &self,
        channel: Channel,
        page: Page,
        count: usize,
    ) -> Result<Vec<Publication>, Unavailable> {
        let Some(kept) = self.0.rules.of(channel.as_str()).history else { return Ok(Vec::new()) };
        let name = self.0.name(&channel);
        let mut publications = Vec::new();
        let mut next = page;
        loop {
            let lane = self.0.map.lane(&channel).ok_or(SILENT)?;
            let command = history::page_command(&name, next, count - publications.len());
            let answer: Value = lane.query(&command).await.map_err(|error| {
                telemetry::broker_did_not_answer(&error);
                SILENT
            })?;
            let some = history::publications(answer);
            let is_end = some.len() < count - publications.len();
            let last = some.last().and_then(|publication| publication.position);
            publications.extend(some.into_iter().filter(|it| !history::is_over(it, kept.age)));
            match (next, last) {
                (Page::After(_), Some(last)) if !is_end && publications.len() < count => {
                    next = Page::After(last);
                }
                _ => return Ok(publications),
            }
        }
    }
}
