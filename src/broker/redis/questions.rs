//! Questions to the functions, many in one go, each to the master that has its channel.

mod moved;

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Pipeline, RedisError, Value};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use self::moved::Moved;
use super::connection::cause::{Cause, refuses_writes};
use super::connection::pool::QuestionError;
use super::context::RedisContext;
use super::lanes::lane::Lane;
use super::rules::bypassed_history::BypassedHistory;
use super::rules::installing::install;
use crate::broker::unavailable::Unavailable;
use crate::publication::Channel;
use crate::telemetry;

/// Most questions in one pipeline, so that live traffic gets its turn between two of them.
const CALLS_MAX: usize = 250;

/// How long a master that cannot answer yet is asked again, and how often. Other rules take effect
/// within that time.
const BUSY_TIME_MAX: Duration = Duration::from_millis(1500);
const BUSY_PAUSE: Duration = Duration::from_millis(50);

pub const SILENT: Unavailable = Unavailable("redis does not answer");
pub const NOT_UNDERSTOOD: Unavailable =
    Unavailable("redis answered what is no answer to the question");

const REFUSED: Unavailable = Unavailable("redis refused the question");

/// The question would have written, and the server takes no writes now.
pub const TAKES_NO_WRITES: Unavailable = Unavailable("redis takes no writes now");

/// Asks them, also while slots move and where the functions are missing.
#[derive(Clone)]
pub struct Questions {
    pub context: Arc<RedisContext>,
}

impl Questions {
    /// Asks one question of the master that has its channel.
    pub async fn call(&self, channel: Channel, call: Cmd) -> Result<Value, Unavailable> {
        self.call_each(vec![(channel, call)]).await.pop().unwrap_or(Err(NOT_UNDERSTOOD))
    }

    /// Asks each question of the master that has its channel; one answer each, in their order.
    pub async fn call_each(&self, calls: Vec<(Channel, Cmd)>) -> Vec<Result<Value, Unavailable>> {
        let (channels, commands): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
        let mut answers: Vec<_> = commands.iter().map(|_| Err(SILENT)).collect();
        // All masters at once: one that hangs holds up nobody's channels but its own.
        let by_lane = self.context.map.by_lane(&channels).into_iter().filter_map(|(lane, some)| {
            let places: Vec<_> = some.into_iter().map(|(at, _)| at).collect();
            Some(self.ask_lane(lane?, places, &commands))
        });
        for (at, answer) in join_all(by_lane).await.into_iter().flatten() {
            answers[at] = answer;
        }
        answers
    }

    /// Asks for one key of a channel of the lane, wherever it is while its slot moves.
    pub async fn question(&self, lane: &Lane, command: &Cmd) -> Result<Value, QuestionError> {
        Moved { context: &self.context, lane }.question(command).await
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
        let answers = loop {
            let answers = match lane.query_each(&pipeline).await {
                Ok(answers) => answers,
                Err(error) => {
                    telemetry::broker_did_not_answer(&error);
                    return vec![Err(SILENT); commands.len()];
                }
            };
            let refusal = answers.iter().find_map(|answer| answer.as_ref().err());
            let cause = refusal.and_then(Cause::of_error);
            if cause == Some(Cause::NoFunction) && !installed {
                installed = true;
                if self.has_installed(lane).await {
                    continue;
                }
            }
            // One that takes no writes is asked again without them instead.
            let is_busy = cause == Some(Cause::Busy) && !refusal.is_some_and(refuses_writes);
            if is_busy && began.elapsed() < BUSY_TIME_MAX {
                sleep(BUSY_PAUSE).await;
                continue;
            }
            if let Some(error) = refusal.filter(|_| cause.is_none()) {
                telemetry::broker_refused("FCALL", "", error);
            }
            break answers;
        };
        let answers = Moved { context: &self.context, lane }.follow(commands, answers).await;
        answers.into_iter().map(|answer| answer.map_err(|error| why(&error))).collect()
    }

    /// Installs the functions. False: they could not be, or that is not for a visitor to do.
    async fn has_installed(&self, lane: &Lane) -> bool {
        !self.context.is_visitor
            && install(&self.context, lane, &BypassedHistory::default()).await.is_ok()
    }
}

fn why(error: &RedisError) -> Unavailable {
    match refuses_writes(error) {
        true => TAKES_NO_WRITES,
        false => REFUSED,
    }
}
