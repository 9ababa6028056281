//! Polls servers for the masters.

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

/// How long one server may take, from connecting to its reply.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Share of that time for each step of connecting, so that the error can name the step that failed.
const CONNECT_TIMEOUT: Duration = ANSWER_TIMEOUT.checked_mul(3).unwrap().checked_div(4).unwrap();

/// How long to wait for the remaining servers once enough have answered.
const REST_TIMEOUT: Duration = Duration::from_millis(100);

const LOGIN_REQUIRED: &str =
    "it requires a login: for sentinels broker.sentinel_password, for others that of broker.url";

/// Maximum number of failed servers in an error.
const REPORTED_MAX: usize = 4;

/// Polls servers repeatedly, each over one connection.
#[derive(Default)]
pub struct ServerPoll {
    connections: HashMap<ServerAddress, MultiplexedConnection>,
}

/// One server's replies, in the order of the commands.
pub struct PollAnswer {
    pub server: ServerAddress,
    pub values: Vec<Value>,
}

impl ServerPoll {
    /// Polls all servers at once. Once `enough` have answered, the rest gets little time. `logins`
    /// are tried in order where a server requires one.
    pub async fn poll(
        &mut self,
        addresses: &[ServerAddress],
        logins: &[RedisConnectionInfo],
        trust: &Option<Trust>,
        commands: Pipeline,
        enough: usize,
    ) -> Result<Vec<PollAnswer>, UnknownTopology> {
        self.connections.retain(|address, _| addresses.contains(address));
        let mut tasks = self.start(addresses, logins, trust, &Arc::new(commands));
        let mut answers = Vec::new();
        let mut why = Vec::new();
        let mut deadline = Instant::now() + 2 * ANSWER_TIMEOUT;
        while let Ok(Some(Ok((server, answer)))) = timeout_at(deadline, tasks.join_next()).await {
            match answer {
                Ok((connection, values)) => {
                    self.connections.insert(server.clone(), connection);
                    answers.push(PollAnswer { server, values });
                }
                Err(error) => why.push(format!("{server}: {error}")),
            }
            if answers.len() >= enough {
                deadline = deadline.min(Instant::now() + REST_TIMEOUT);
            }
        }
        // Sorted, so that the same error is not logged again.
        why.sort();
        why.truncate(REPORTED_MAX);
        if answers.is_empty() {
            Err(UnknownTopology::Unanswered(why.join("; ")))
        } else {
            Ok(answers)
        }
    }

    /// Starts a task for each server.
    fn start(
        &mut self,
        addresses: &[ServerAddress],
        logins: &[RedisConnectionInfo],
        trust: &Option<Trust>,
        commands: &Arc<Pipeline>,
    ) -> JoinSet<(ServerAddress, PollResult)> {
        let mut tasks = JoinSet::new();
        for address in addresses {
            let server = |login: &RedisConnectionInfo| RedisServer {
                address: address.clone(),
                login: login.clone(),
                trust: trust.clone(),
            };
            let servers: Vec<_> = logins.iter().map(server).collect();
            let (address, commands) = (address.clone(), commands.clone());
            let connection = self.connections.remove(&address);
            tasks.spawn(async move {
                let polled = poll_one(&servers, &commands, connection);
                let answer = timeout(ANSWER_TIMEOUT, polled).await;
                (address, answer.unwrap_or_else(|_| Err("no answer".to_owned())))
            });
        }
        tasks
    }
}

/// The connection and the replies, or why there are none.
type PollResult = Result<(MultiplexedConnection, Vec<Value>), String>;

/// `servers`: the same server with each login.
async fn poll_one(
    servers: &[RedisServer],
    commands: &Pipeline,
    connection: Option<MultiplexedConnection>,
) -> PollResult {
    let mut why = "no answer".to_owned();
    if let Some(mut connection) = connection
        && let Ok(values) = connection.req_packed_commands(commands, 0, commands.len()).await
    {
        return Ok((connection, values));
    }
    for server in servers {
        let opened = async {
            let mut connection = Link::new(server).open_within(CONNECT_TIMEOUT).await?;
            let values = connection.req_packed_commands(commands, 0, commands.len()).await?;
            Ok::<_, RedisError>((connection, values))
        };
        match opened.await {
            Ok((_, values)) if values.iter().any(requires_login) => {
                why = LOGIN_REQUIRED.to_owned();
            }
            Ok(answered) => return Ok(answered),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

fn requires_login(value: &Value) -> bool {
    matches!(value, Value::ServerError(error) if error.code() == "NOAUTH")
}

/// The text of a reply, or of a part of it.
pub fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}
