//! Calls of the Redis functions, in pipelines, each to the master of its channel.

mod moved;

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Pipeline, RedisError, Value};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use self::moved::MovedQueries;
use super::connection::cause::{Cause, refuses_writes, run_refusal};
use super::connection::pool::QueryError;
use super::context::RedisContext;
use super::lanes::lane::Lane;
use super::rules::bypassed_history::BypassedHistory;
use super::rules::installing::install;
use crate::broker::unavailable::Unavailable;
use crate::publication::Channel;
use crate::telemetry;

/// Maximum number of calls in one pipeline, so that live traffic is served between two pipelines.
const CALLS_MAX: usize = 250;

/// How long calls to a master that cannot serve them yet are retried, and the pause between two
/// attempts. Changed rules take effect within that time.
const BUSY_TIME_MAX: Duration = Duration::from_millis(1500);
const BUSY_PAUSE: Duration = Duration::from_millis(50);

pub const NO_REPLY: Unavailable = Unavailable("redis does not answer");
pub const UNEXPECTED_REPLY: Unavailable = Unavailable("redis sent an unexpected reply");

const REFUSED: Unavailable = Unavailable("redis refused the request");

/// The call would write, and the server takes no writes now.
pub const READ_ONLY: Unavailable = Unavailable("redis takes no writes now");

/// Sends calls, also while slots move and where the functions are missing.
#[derive(Clone)]
pub struct Queries {
    pub context: Arc<RedisContext>,
}

impl Queries {
    /// Sends one call to the master of its channel.
    pub async fn call(&self, channel: Channel, call: Cmd) -> Result<Value, Unavailable> {
        self.call_each(vec![(channel, call)]).await.pop().unwrap_or(Err(UNEXPECTED_REPLY))
    }

    /// Sends each call to the master of its channel; one reply each, in their order.
    pub async fn call_each(&self, calls: Vec<(Channel, Cmd)>) -> Vec<Result<Value, Unavailable>> {
        let (channels, commands): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
        let mut answers: Vec<_> = commands.iter().map(|_| Err(NO_REPLY)).collect();
        // All masters at once, so that a master that hangs delays only its own channels.
        let by_lane = self.context.map.by_lane(&channels).into_iter().filter_map(|(lane, some)| {
            let indices: Vec<_> = some.into_iter().map(|(at, _)| at).collect();
            Some(self.query_lane(lane?, indices, &commands))
        });
        for (at, answer) in join_all(by_lane).await.into_iter().flatten() {
            answers[at] = answer;
        }
        answers
    }

    /// Sends a command with one key of a channel of the lane, wherever the key is while its slot
    /// moves.
    pub async fn query(&self, lane: &Lane, command: &Cmd) -> Result<Value, QueryError> {
        MovedQueries { context: &self.context, lane }.query(command).await
    }

    /// Sends the commands at these indices to one master.
    async fn query_lane(
        &self,
        lane: Arc<Lane>,
        indices: Vec<usize>,
        commands: &[Cmd],
    ) -> Vec<(usize, Result<Value, Unavailable>)> {
        let mut answers = Vec::with_capacity(indices.len());
        for some in indices.chunks(CALLS_MAX) {
            let batch: Vec<_> = some.iter().map(|at| &commands[*at]).collect();
            answers.extend(some.iter().copied().zip(self.call_lane(&lane, &batch).await));
        }
        answers
    }

    /// Sends calls to one master, and repeats them once if it has lost the functions.
    async fn call_lane(&self, lane: &Lane, commands: &[&Cmd]) -> Vec<Result<Value, Unavailable>> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        commands.iter().for_each(|command| _ = pipeline.add_command((*command).clone()));
        let mut installed = false;
        let started = Instant::now();
        let answers = loop {
            let answers = match lane.query_each(&pipeline).await {
                Ok(answers) => answers,
                Err(error) => {
                    telemetry::broker_did_not_answer(&error);
                    return vec![Err(NO_REPLY); commands.len()];
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
            // A master that takes no writes is asked again with read-only functions instead.
            let is_busy = cause == Some(Cause::Busy) && !refusal.is_some_and(refuses_writes);
            if is_busy && started.elapsed() < BUSY_TIME_MAX {
                sleep(BUSY_PAUSE).await;
                continue;
            }
            let is_known = |error: &&RedisError| error.code().and_then(run_refusal).is_none();
            if let Some(error) = refusal.filter(is_known).filter(|_| cause.is_none()) {
                telemetry::broker_refused("FCALL", "", error);
            }
            break answers;
        };
        let answers = MovedQueries { context: &self.context, lane }.follow(commands, answers).await;
        answers.into_iter().map(|answer| answer.map_err(|error| why(&error))).collect()
    }

    /// Installs the functions. False: Redis refused them, or this is a command, which installs
    /// nothing.
    async fn has_installed(&self, lane: &Lane) -> bool {
        !self.context.is_command
            && install(&self.context, lane, &BypassedHistory::default()).await.is_ok()
    }
}

fn why(error: &RedisError) -> Unavailable {
    match error.code().and_then(run_refusal) {
        Some(why) => why,
        None if refuses_writes(error) => READ_ONLY,
        None => REFUSED,
    }
}
