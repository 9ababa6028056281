//! Servers that are asked for the masters.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{Pipeline, RedisConnectionInfo, RedisError, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::source::UnknownTopology;
use crate::broker::redis::connection::link::Link;
use crate::broker::redis::connection::server::{RedisServer, ServerAddress};
use crate::tls::Trust;

/// How long a server may take to say who is master, from connecting to its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long each step of connecting may take of that, so that the error can say which one failed.
const CONNECT_TIMEOUT: Duration = ANSWER_TIMEOUT.checked_mul(3).unwrap().checked_div(4).unwrap();

/// How much longer the rest is waited for once most have answered.
const REST_TIMEOUT: Duration = Duration::from_millis(100);

const WANTS_LOGIN: &str =
    "it wants a login: of sentinels broker.sentinel_password, of others the one in broker.url";

/// Most of those who do not answer that are told of.
const TOLD_MAX: usize = 4;

/// Servers that are asked again and again, each over one connection.
#[derive(Default)]
pub struct ServerPoll {
    connections: HashMap<ServerAddress, MultiplexedConnection>,
}

/// What one server answered, question by question.
pub struct PollAnswer {
    pub of: ServerAddress,
    pub values: Vec<Value>,
}

impl ServerPoll {
    /// Asks all at once. Once `enough` have answered, the rest has little time left. `logins` are
    /// tried in turn where a server wants one.
    pub async fn ask(
        &mut self,
        addresses: &[ServerAddress],
        logins: &[RedisConnectionInfo],
        trust: &Option<Trust>,
        questions: Pipeline,
        enough: usize,
    ) -> Result<Vec<PollAnswer>, UnknownTopology> {
        self.connections.retain(|address, _| addresses.contains(address));
        let mut asking = self.asking(addresses, logins, trust, &Arc::new(questions));
        let mut answers = Vec::new();
        let mut why = Vec::new();
        let mut deadline = Instant::now() + 2 * ANSWER_TIMEOUT;
        while let Ok(Some(Ok((of, answer)))) = timeout_at(deadline, asking.join_next()).await {
            match answer {
                Ok((connection, values)) => {
                    self.connections.insert(of.clone(), connection);
                    answers.push(PollAnswer { of, values });
                }
                Err(error) => why.push(format!("{of}: {error}")),
            }
            if answers.len() >= enough {
                deadline = deadline.min(Instant::now() + REST_TIMEOUT);
            }
        }
        // Always in one order, so that the same is not told again.
        why.sort();
        why.truncate(TOLD_MAX);
        if answers.is_empty() {
            Err(UnknownTopology::Unanswered(why.join("; ")))
        } else {
            Ok(answers)
        }
    }

    /// Starts to ask each of them.
    fn asking(
        &mut self,
        addresses: &[ServerAddress],
        logins: &[RedisConnectionInfo],
        trust: &Option<Trust>,
        questions: &Arc<Pipeline>,
    ) -> JoinSet<(ServerAddress, PollResult)> {
        let mut asking = JoinSet::new();
        for address in addresses {
            let server = |login: &RedisConnectionInfo| RedisServer {
                address: address.clone(),
                login: login.clone(),
                trust: trust.clone(),
            };
            let servers: Vec<_> = logins.iter().map(server).collect();
            let (address, questions) = (address.clone(), questions.clone());
            let connection = self.connections.remove(&address);
            asking.spawn(async move {
                let asked = ask_one(&servers, &questions, connection);
                let answer = timeout(ANSWER_TIMEOUT, asked).await;
                (address, answer.unwrap_or_else(|_| Err("no answer".to_owned())))
            });
        }
        asking
    }
}

/// The connection and the answers; or why there are none.
type PollResult = Result<(MultiplexedConnection, Vec<Value>), String>;

/// `servers`: the same one, with a login each.
async fn ask_one(
    servers: &[RedisServer],
    questions: &Pipeline,
    connection: Option<MultiplexedConnection>,
) -> PollResult {
    let mut why = "no answer".to_owned();
    if let Some(mut connection) = connection
        && let Ok(values) = connection.req_packed_commands(questions, 0, questions.len()).await
    {
        return Ok((connection, values));
    }
    for server in servers {
        let opened = async {
            let mut connection = Link::new(server).open_within(CONNECT_TIMEOUT).await?;
            let values = connection.req_packed_commands(questions, 0, questions.len()).await?;
            Ok::<_, RedisError>((connection, values))
        };
        match opened.await {
            Ok((_, values)) if values.iter().any(wants_login) => {
                why = WANTS_LOGIN.to_owned();
            }
            Ok(answered) => return Ok(answered),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

fn wants_login(value: &Value) -> bool {
    matches!(value, Value::ServerError(error) if error.code() == "NOAUTH")
}

/// The text of an answer, or of a part of it.
pub fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}
