//! Questions to the functions, many in one go, each to the master that has its channel.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Pipeline, RedisError, Value};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::broker::redis::Redis;
use crate::broker::redis::SILENT;
use crate::broker::redis::connection::link::QuestionError;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::lanes::slot;
use crate::broker::redis::moving;
use crate::broker::redis::presence::calls as presence;
use crate::broker::redis::publishing::verdict::{self, Cause};
use crate::broker::redis::rules::routing::PastHistory;
use crate::broker::{Page, Unavailable};
use crate::publication::{Channel, Publication};
use crate::telemetry;

use crate::broker::redis::history::calls as history;

/// Most questions in one pipeline, so that live traffic gets its turn between two of them.
const CALLS_MAX: usize = 250;

/// How long a master that cannot answer yet is asked again, and how often. Other rules take effect
/// within that time.
const BUSY_TIME_MAX: Duration = Duration::from_millis(1500);
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Most steps of following one question to where its keys are, and the pause where it is not known yet.
const MOVES_MAX: usize = 8;
const MOVE_PAUSE: Duration = Duration::from_millis(100);

/// After so long the questions of one pipeline that are left are not followed.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(2);

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
            let cause = refusal.and_then(cause_of);
            if cause == Some(Cause::NoFunction) && !installed {
                installed = true;
                let changes_nothing = self.0.is_visitor;
                if !changes_nothing && self.0.install(lane, &PastHistory::default()).await.is_ok() {
                    continue;
                }
            }
            // One that takes no writes is asked again without them instead.
            let takes_no_writes =
                refusal.and_then(RedisError::code).is_some_and(verdict::refuses_writes);
            let is_busy = cause == Some(Cause::Busy) && !takes_no_writes;
            if is_busy && began.elapsed() < BUSY_TIME_MAX {
                sleep(BUSY_PAUSE).await;
                continue;
            }
            if let Some(error) = refusal.filter(|_| cause.is_none()) {
                telemetry::broker_refused("FCALL", "", error);
            }
            let answers = self.follow(lane, commands, answers).await;
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

    /// Asks once more for what is of a slot on its way to another master: there, or here after what it needs has
    /// been moved on.
    async fn follow(
        &self,
        lane: &Lane,
        commands: &[&Cmd],
        mut answers: Vec<Result<Value, RedisError>>,
    ) -> Vec<Result<Value, RedisError>> {
        let begun = Instant::now();
        for (command, answer) in commands.iter().zip(&mut answers) {
            for _ in 0..MOVES_MAX {
                let Err(error) = answer else { break };
                if begun.elapsed() >= FOLLOW_TIMEOUT {
                    break;
                }
                let next = match cause_of(error) {
                    Some(Cause::Asked) => self.ask_there(lane, command, error).await,
                    Some(Cause::Split) => self.ask_together(lane, command).await,
                    _ => break,
                };
                match next {
                    Some(next) => *answer = next,
                    None => sleep(MOVE_PAUSE).await,
                }
            }
        }
        answers
    }

    /// Asks the master that an `ASK` points at. None: it is not known yet.
    async fn ask_there(
        &self,
        lane: &Lane,
        command: &Cmd,
        ask: &RedisError,
    ) -> Option<Result<Value, RedisError>> {
        let there =
            moving::target_of(ask, &lane.address).and_then(|address| self.0.map.lane_at(&address));
        let Some(there) = there else {
            lane.doubt();
            return None;
        };
        let asked = [moving::with_one_key(command)];
        let mut answer = there.query_asking(&asked).await.ok()?.pop()?;
        if answer.as_ref().is_err_and(|error| cause_of(error) == Some(Cause::NoFunction)) {
            if self.0.is_visitor {
                return Some(answer);
            }
            self.0.install(&there, &PastHistory::default()).await.ok()?;
            answer = there.query_asking(&asked).await.ok()?.pop()?;
        }
        match &answer {
            Ok(_) => self.0.state.moves_work(),
            Err(error) if cause_of(error).is_none() => {
                moving::is_refused(&self.0, &there.address, error);
            }
            Err(_) => {}
        }
        Some(answer)
    }

    /// Has the keys that a call needs moved on, and asks again. None: it is not known where to.
    async fn ask_together(&self, lane: &Lane, command: &Cmd) -> Option<Result<Value, RedisError>> {
        let mut keys = moving::keys(command);
        let first = keys.first()?.clone();
        let Some(to) = self.0.map.importing(slot::of(first.as_bytes())) else {
            lane.doubt();
            return None;
        };
        // Those of all nodes that are in the channel.
        let nodes: Vec<String> = match presence::is_key(&self.0.prefix, &first) {
            true => lane.query(::redis::cmd("HKEYS").arg(&first)).await.unwrap_or_default(),
            false => Vec::new(),
        };
        keys.extend(nodes.iter().map(|node| format!("{first} {node}")));
        keys.sort_unstable();
        keys.dedup();
        let moved = lane.query::<Value>(&moving::migrate(&to.address, &self.0.login, &keys)).await;
        if let Err(error) = moved {
            moving::stays(&self.0, &to.address, &error.to_string());
        }
        let mut again = Pipeline::new();
        again.add_command(command.clone());
        lane.query_each(&again).await.ok()?.pop()
    }

    /// Asks for one key of the channel, wherever it is while its slot moves.
    pub(super) async fn question(
        &self,
        lane: &Lane,
        command: &Cmd,
    ) -> Result<Value, QuestionError> {
        let mut answer = lane.query::<Value>(command).await;
        for _ in 0..MOVES_MAX {
            let Err(QuestionError::Redis(error)) = &answer else { break };
            if cause_of(error) != Some(Cause::Asked) {
                break;
            }
            match self.ask_there(lane, command, error).await {
                Some(next) => answer = next.map_err(QuestionError::Redis),
                None => sleep(MOVE_PAUSE).await,
            }
        }
        answer
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
        let answer = self.question(&lane, &command).await.map_err(|error| {
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

fn cause_of(error: &RedisError) -> Option<Cause> {
    Cause::of(error.code().unwrap_or_default(), error.detail().unwrap_or_default())
}
