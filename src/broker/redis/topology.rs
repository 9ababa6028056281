//! Finds out which servers are masters, and lets the map follow.

mod cluster;
mod epochs;
mod sentinel;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{Pipeline, RedisConnectionInfo, RedisError, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use self::cluster::Cluster;
use self::sentinel::Sentinel;
use crate::broker::redis::connection::link::{Backoff, Link};
use crate::broker::redis::connection::server::{Address, Server};
use crate::broker::redis::context::Context;
use crate::broker::redis::lanes::lane::{Lane, Place};
use crate::broker::redis::lanes::map::Layout;
use crate::broker::redis::url::{Deployment, Masters};
use crate::tls::Trust;
use crate::{telemetry, vital};

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

/// The least pause between two looks, however many lanes doubt what is known.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// How often it is looked for those who have waited too long while no master is known.
const TICK: Duration = Duration::from_millis(100);

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    #[error("nobody answers: {0}")]
    Unanswered(String),
    #[error("no sentinel knows a master of the service {0:?}")]
    Service(String),
    #[error("it is not a cluster: use redis:// (with TLS, rediss://) in broker.url")]
    NoCluster,
    #[error("no master has a slot")]
    NoSlots,
}

/// Starts the lanes of the masters; where these can change, also the task that follows them.
pub fn start(context: &Arc<Context>, deployment: &Deployment) {
    match deployment.masters.clone() {
        Masters::Single(address) => follow(context, &Layout::one(address)),
        Masters::Sentinel { sentinels, service } => {
            vital::spawn("nowhere", expire(context.clone()));
            let sentinel = Sentinel::new(sentinels, service, deployment);
            vital::spawn("topology", watch(context.clone(), sentinel));
        }
        Masters::Cluster { nodes } => {
            vital::spawn("nowhere", expire(context.clone()));
            vital::spawn("topology", watch(context.clone(), Cluster::new(nodes)));
        }
    }
}

/// Asks once which servers are masters.
pub async fn look(context: &Context, deployment: &Deployment) -> Result<Layout, Unknown> {
    match deployment.masters.clone() {
        Masters::Single(address) => Ok(Layout::one(address)),
        Masters::Sentinel { sentinels, service } => {
            Sentinel::new(sentinels, service, deployment).look(context).await
        }
        Masters::Cluster { nodes } => Cluster::new(nodes).look(context).await,
    }
}

/// Who can be asked for the masters.
trait Source: Send + 'static {
    /// How often the source is asked while nobody doubts.
    const INTERVAL: Duration;

    fn look(&mut self, context: &Context) -> impl Future<Output = Result<Layout, Unknown>> + Send;
}

/// Looks for ever; what is known stays in use while nobody answers.
async fn watch<S: Source>(context: Arc<Context>, mut source: S) {
    let mut backoff = Backoff::default();
    let mut known = Layout::default();
    loop {
        let pause = match source.look(&context).await {
            Ok(layout) => {
                backoff = Backoff::default();
                if layout != known {
                    if layout.moving != known.moving {
                        telemetry::slots_move(layout.moving.len());
                    }
                    let _still = context.detours.write().await;
                    follow(&context, &layout);
                    known = layout;
                }
                match known.moving.is_empty() {
                    true => context.state.moves_work(),
                    false => context.state.moves_age(),
                }
                S::INTERVAL
            }
            Err(why) => {
                if known.masters.is_empty() {
                    context.state.masters_unknown(&why);
                }
                backoff.next()
            }
        };
        sleep(LOOK_PAUSE).await;
        tokio::select! {
            () = context.doubt.notified() => {}
            () = sleep(pause) => {}
        }
    }
}

/// Lets the map follow: lanes are begun and retired.
fn follow(context: &Arc<Context>, layout: &Layout) {
    let applied = context.map.apply(layout, |address| Lane::new(address, context));
    applied.new.iter().for_each(|lane| lane.start(context));
    applied.retired.iter().for_each(|lane| lane.retire());
    // From now on what waits for a master waits for one that Redis is about to name.
    context.map.nowhere.line.set_stuck(None);
    match layout.owners.iter().filter(|owner| owner.is_none()).count() {
        0 => context.state.masters_known(),
        slots => context.state.masters_unknown(&format_args!("{slots} slots have none")),
    }
}

/// Answers what waits too long for a master to be known.
async fn expire(context: Arc<Context>) {
    let Place { line, wanted } = &*context.map.nowhere;
    let channels = async {
        loop {
            sleep(TICK).await;
            wanted.expire();
            // What is left before it could be asked for is forgotten.
            wanted.next_to_unsubscribe();
        }
    };
    tokio::select! {
        never = line.expire() => match never {},
        () = channels => {}
    }
}

/// Servers that are asked again and again, each over one connection.
#[derive(Default)]
struct Panel {
    connections: HashMap<Address, MultiplexedConnection>,
}

/// What one server answered, question by question.
struct Answer {
    of: Address,
    values: Vec<Value>,
}

impl Panel {
    /// Asks all at once. Once `enough` have answered, the rest has little time left. `logins` are
    /// tried in turn where a server wants one.
    async fn ask(
        &mut self,
        addresses: &[Address],
        logins: &[RedisConnectionInfo],
        trust: &Option<Trust>,
        questions: Pipeline,
        enough: usize,
    ) -> Result<Vec<Answer>, Unknown> {
        self.connections.retain(|address, _| addresses.contains(address));
        let questions = Arc::new(questions);
        let mut asking = JoinSet::new();
        for address in addresses {
            let server = |login: &RedisConnectionInfo| Server {
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
        let mut answers = Vec::new();
        let mut why = Vec::new();
        let mut deadline = Instant::now() + 2 * ANSWER_TIMEOUT;
        while let Ok(Some(Ok((of, answer)))) = timeout_at(deadline, asking.join_next()).await {
            match answer {
                Ok((connection, values)) => {
                    self.connections.insert(of.clone(), connection);
                    answers.push(Answer { of, values });
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
        if answers.is_empty() { Err(Unknown::Unanswered(why.join("; "))) } else { Ok(answers) }
    }
}

/// `servers`: the same one, with a login each.
async fn ask_one(
    servers: &[Server],
    questions: &Pipeline,
    connection: Option<MultiplexedConnection>,
) -> Result<(MultiplexedConnection, Vec<Value>), String> {
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
fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}
