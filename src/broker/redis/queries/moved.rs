//! Calls for slots that move to another master: they are sent there, or here again after the keys
//! they need have been migrated.

use std::time::Duration;

use ::redis::{Cmd, Pipeline, RedisError, Value};
use tokio::time::{Instant, sleep};

use crate::broker::redis::connection::cause::Cause;
use crate::broker::redis::connection::pool::QueryError;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::lanes::slot;
use crate::broker::redis::moving;
use crate::broker::redis::presence::calls::is_key;
use crate::broker::redis::rules::bypassed_history::BypassedHistory;
use crate::broker::redis::rules::installing::install;

/// Maximum number of steps to follow one call to its keys, and the pause while their master is
/// unknown.
const MOVES_MAX: usize = 8;
const MOVE_PAUSE: Duration = Duration::from_millis(100);

/// After this time the remaining calls of a pipeline are not followed.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(2);

/// Follows calls of one master. `lane`: the master that replied first.
pub struct MovedQueries<'a> {
    pub context: &'a RedisContext,
    pub lane: &'a Lane,
}

impl MovedQueries<'_> {
    /// Repeats calls that failed because their slot moves.
    pub async fn follow(
        &self,
        commands: &[&Cmd],
        mut answers: Vec<Result<Value, RedisError>>,
    ) -> Vec<Result<Value, RedisError>> {
        let started = Instant::now();
        for (command, answer) in commands.iter().zip(&mut answers) {
            for _ in 0..MOVES_MAX {
                let Err(error) = answer else { break };
                if started.elapsed() >= FOLLOW_TIMEOUT {
                    break;
                }
                let next = match Cause::of_error(error) {
                    Some(Cause::Ask) => self.query_target(command, error).await,
                    Some(Cause::TryAgain) => self.migrate_and_retry(command).await,
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

    /// Sends a command with one key, wherever the key is.
    pub async fn query(&self, command: &Cmd) -> Result<Value, QueryError> {
        let mut answer = self.lane.query::<Value>(command).await;
        for _ in 0..MOVES_MAX {
            let Err(QueryError::Redis(error)) = &answer else { break };
            if Cause::of_error(error) != Some(Cause::Ask) {
                break;
            }
            match self.query_target(command, error).await {
                Some(next) => answer = next.map_err(QueryError::Redis),
                None => sleep(MOVE_PAUSE).await,
            }
        }
        answer
    }

    /// Sends the command to the target of an `ASK`. `None`: the target is not known yet.
    async fn query_target(
        &self,
        command: &Cmd,
        ask: &RedisError,
    ) -> Option<Result<Value, RedisError>> {
        let to = moving::target_of(ask, &self.lane.address);
        let Some(target) = to.and_then(|address| self.context.map.lane_at(&address)) else {
            self.lane.request_refresh();
            return None;
        };
        self.move_siblings(command, &target).await;
        let commands_there = [moving::with_one_key(command)];
        let mut answer = target.query_asking(&commands_there).await.ok()?.pop()?;
        if answer.as_ref().is_err_and(|error| Cause::of_error(error) == Some(Cause::NoFunction)) {
            if self.context.is_command {
                return Some(answer);
            }
            install(self.context, &target, &BypassedHistory::default()).await.ok()?;
            answer = target.query_asking(&commands_there).await.ok()?.pop()?;
        }
        match &answer {
            Ok(_) => self.context.state.moves_work(),
            Err(error) if Cause::of_error(error).is_none() => {
                moving::report_refused(&self.context.state, &target.address, error);
            }
            Err(_) => {}
        }
        Some(answer)
    }

    /// Migrates the keys beside the run that a call is about, if its stream is at the target already.
    async fn move_siblings(&self, command: &Cmd, target: &Lane) {
        let name = moving::keys(command).into_iter().next().unwrap_or_default();
        let siblings = [self.context.lease_key(&name), self.context.stream_key(&name)];
        let siblings: Vec<String> = siblings.into_iter().flatten().collect();
        if !siblings.is_empty() {
            let migrate = moving::migrate(&target.address, &self.context.login, &siblings);
            if let Err(error) = self.lane.query::<Value>(&migrate).await {
                moving::report_stuck(&self.context.state, &target.address, &error.to_string());
            }
        }
    }

    /// Migrates the keys that a call needs, and repeats it. `None`: the target is not known.
    async fn migrate_and_retry(&self, command: &Cmd) -> Option<Result<Value, RedisError>> {
        let mut keys = moving::keys(command);
        let first = keys.first()?.clone();
        let Some(to) = self.context.map.importing(slot::of(first.as_bytes())) else {
            self.lane.request_refresh();
            return None;
        };
        // The keys of all nodes that have members in the channel.
        let nodes: Vec<String> = match is_key(&self.context.prefix, &first) {
            true => self.lane.query(::redis::cmd("HKEYS").arg(&first)).await.unwrap_or_default(),
            false => Vec::new(),
        };
        keys.extend(nodes.iter().map(|node| format!("{first} {node}")));
        keys.sort_unstable();
        keys.dedup();
        let migrate = moving::migrate(&to.address, &self.context.login, &keys);
        if let Err(error) = self.lane.query::<Value>(&migrate).await {
            moving::report_stuck(&self.context.state, &to.address, &error.to_string());
        }
        let mut retry = Pipeline::new();
        retry.add_command(command.clone());
        self.lane.query_each(&retry).await.ok()?.pop()
    }
}
