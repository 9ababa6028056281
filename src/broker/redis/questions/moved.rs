//! Questions about slots on their way to another master: they are asked there, or here after what they need has
//! been moved on.

use std::time::Duration;

use ::redis::{Cmd, Pipeline, RedisError, Value};
use tokio::time::{Instant, sleep};

use crate::broker::redis::connection::cause::Cause;
use crate::broker::redis::connection::pool::QuestionError;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::lanes::slot;
use crate::broker::redis::moving;
use crate::broker::redis::presence::calls::is_key;
use crate::broker::redis::rules::bypassed_history::BypassedHistory;
use crate::broker::redis::rules::installing::install;

/// Most steps of following one question to where its keys are, and the pause where it is not known yet.
const MOVES_MAX: usize = 8;
const MOVE_PAUSE: Duration = Duration::from_millis(100);

/// After so long the questions of one pipeline that are left are not followed.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(2);

/// What is asked again of one master's questions. `lane`: the one that was asked first.
pub struct Moved<'a> {
    pub context: &'a RedisContext,
    pub lane: &'a Lane,
}

impl Moved<'_> {
    /// Asks once more for what is of a slot on its way to another master.
    pub async fn follow(
        &self,
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
                let next = match Cause::of_error(error) {
                    Some(Cause::Asked) => self.ask_there(command, error).await,
                    Some(Cause::Split) => self.ask_together(command).await,
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

    /// Asks for one key, wherever it is.
    pub async fn question(&self, command: &Cmd) -> Result<Value, QuestionError> {
        let mut answer = self.lane.query::<Value>(command).await;
        for _ in 0..MOVES_MAX {
            let Err(QuestionError::Redis(error)) = &answer else { break };
            if Cause::of_error(error) != Some(Cause::Asked) {
                break;
            }
            match self.ask_there(command, error).await {
                Some(next) => answer = next.map_err(QuestionError::Redis),
                None => sleep(MOVE_PAUSE).await,
            }
        }
        answer
    }

    /// Asks the master that an `ASK` points at. None: it is not known yet.
    async fn ask_there(
        &self,
        command: &Cmd,
        ask: &RedisError,
    ) -> Option<Result<Value, RedisError>> {
        let to = moving::target_of(ask, &self.lane.address);
        let Some(there) = to.and_then(|address| self.context.map.lane_at(&address)) else {
            self.lane.request_refresh();
            return None;
        };
        let asked = [moving::with_one_key(command)];
        let mut answer = there.query_asking(&asked).await.ok()?.pop()?;
        if answer.as_ref().is_err_and(|error| Cause::of_error(error) == Some(Cause::NoFunction)) {
            if self.context.is_visitor {
                return Some(answer);
            }
            install(self.context, &there, &BypassedHistory::default()).await.ok()?;
            answer = there.query_asking(&asked).await.ok()?.pop()?;
        }
        match &answer {
            Ok(_) => self.context.state.moves_work(),
            Err(error) if Cause::of_error(error).is_none() => {
                moving::is_refused(&self.context.state, &there.address, error);
            }
            Err(_) => {}
        }
        Some(answer)
    }

    /// Has the keys that a call needs moved on, and asks again. None: it is not known where to.
    async fn ask_together(&self, command: &Cmd) -> Option<Result<Value, RedisError>> {
        let mut keys = moving::keys(command);
        let first = keys.first()?.clone();
        let Some(to) = self.context.map.importing(slot::of(first.as_bytes())) else {
            self.lane.request_refresh();
            return None;
        };
        // Those of all nodes that are in the channel.
        let nodes: Vec<String> = match is_key(&self.context.prefix, &first) {
            true => self.lane.query(::redis::cmd("HKEYS").arg(&first)).await.unwrap_or_default(),
            false => Vec::new(),
        };
        keys.extend(nodes.iter().map(|node| format!("{first} {node}")));
        keys.sort_unstable();
        keys.dedup();
        let migrate = moving::migrate(&to.address, &self.context.login, &keys);
        if let Err(error) = self.lane.query::<Value>(&migrate).await {
            moving::stays(&self.context.state, &to.address, &error.to_string());
        }
        let mut again = Pipeline::new();
        again.add_command(command.clone());
        self.lane.query_each(&again).await.ok()?.pop()
    }
}
