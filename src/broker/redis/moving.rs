//! A slot on its way to another master, as a cluster has it while it is resharded, and for as long as that is
//! broken off. Its keys are at the old master or at the new one; what is at the old one no more, or
//! nowhere yet, is asked of the new one (`ASK`, answered by `ASKING`). Keys that are needed together and
//! would be at both are moved on, as the resharding is about to: there is no other way to use them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{Arg, Cmd, Pipeline, RedisConnectionInfo, RedisError, Value};
use tokio::time::{Instant, timeout, timeout_at};

use crate::broker::redis::companion::companion;
use crate::broker::redis::connection::link::Link;
use crate::broker::redis::connection::server::{Address, Server};
use crate::broker::redis::context::Context;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::lanes::slot;
use crate::broker::redis::publishing::line::Queued;
use crate::broker::redis::publishing::publisher;
use crate::broker::redis::publishing::replicas::{REPLICA_TIMEOUT, Replicas};
use crate::broker::redis::publishing::verdict::{Cause, Verdict};
use crate::broker::redis::rules::routing::PastHistory;
use crate::telemetry;

/// How long each step of connecting to the new master, and making it ready, may take: publications for
/// other masters wait meanwhile.
const OPEN_TIMEOUT: Duration = Duration::from_millis(500);

/// How long one that could not be reached is left alone.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long a transfer of keys may stand still, in milliseconds.
const MIGRATE_TIMEOUT_MILLIS: u64 = 1000;

/// Where an `ASK` points: `3999 127.0.0.1:6381`. A server that does not know how clients see the other leaves the
/// host out; then it is its own.
pub fn target(details: &str, of: &Address) -> Option<Address> {
    let (host, port) = details.split(' ').nth(1)?.rsplit_once(':')?;
    let host = if host.is_empty() { &of.host } else { host };
    Some(Address::new(host, port.parse().ok()?))
}

/// The same of an answer that is an error.
pub fn target_of(error: &RedisError, of: &Address) -> Option<Address> {
    (error.code() == Some("ASK")).then(|| target(error.detail()?, of))?
}

/// Moves keys of one slot on to the master that it moves to. Those that are not there are passed over.
pub fn migrate(to: &Address, login: &RedisConnectionInfo, keys: &[String]) -> Cmd {
    let mut command = ::redis::cmd("MIGRATE");
    command.arg(&*to.host).arg(to.port).arg("").arg(0).arg(MIGRATE_TIMEOUT_MILLIS);
    match (login.username(), login.password()) {
        (Some(user), Some(password)) => _ = command.arg("AUTH2").arg(user).arg(password),
        (None, Some(password)) => _ = command.arg("AUTH").arg(password),
        _ => {}
    }
    command.arg("KEYS").arg(keys);
    command
}

/// The keys that a call of a function declares.
pub fn keys(call: &Cmd) -> Vec<String> {
    let words = words(call);
    let count = words.get(2).and_then(|count| std::str::from_utf8(count).ok()?.parse().ok());
    let keys = words.get(3..).unwrap_or_default().iter().take(count.unwrap_or(0));
    keys.map(|key| String::from_utf8_lossy(key).into_owned()).collect()
}

/// The same call with its first key alone. A master that imports a slot takes several keys only if all are there; the
/// functions find out the others.
pub fn with_one_key(call: &Cmd) -> Cmd {
    let keys = keys(call).len();
    let mut one = Cmd::new();
    for (at, word) in words(call).into_iter().enumerate() {
        match at {
            2 if keys > 1 => _ = one.arg(1),
            at if keys > 1 && (4..3 + keys).contains(&at) => {}
            _ => _ = one.arg(word),
        }
    }
    one
}

fn words(call: &Cmd) -> Vec<&[u8]> {
    let word = |argument| match argument {
        Arg::Simple(word) => Some(word),
        _ => None,
    };
    call.args_iter().filter_map(word).collect()
}

/// The way for publications to masters that slots move to: a connection to each, for one publisher.
#[derive(Default)]
pub struct Detour {
    remotes: HashMap<Address, Remote>,
    /// Until when one that could not be reached is left alone.
    away: HashMap<Address, Instant>,
}

struct Remote {
    connection: MultiplexedConnection,
    replicas: Replicas,
}

/// What a batch was answered.
pub struct Answered {
    pub answers: Vec<Value>,
    pub verdicts: Vec<Verdict>,
    /// Of those that were asked of another master, whether a replica of it has them.
    pub elsewhere: HashMap<usize, bool>,
}

impl Detour {
    /// Asks other masters for what the one that was asked first says is theirs, in the order of the batch, and puts
    /// their answers in place of its. What cannot be done now goes out again.
    pub async fn take(
        &mut self,
        context: &Context,
        first: (&Lane, &mut MultiplexedConnection),
        batch: &[Queued],
        answered: &mut Answered,
        deadline: Instant,
    ) {
        let (lane, connection) = first;
        let _still = context.detours.read().await;
        let mut asked: BTreeMap<Address, Vec<usize>> = BTreeMap::new();
        for (at, queued) in batch.iter().enumerate() {
            if !context.map.owns_slot(lane.number, queued.slot) {
                // It has moved meanwhile, and is put in line there.
                continue;
            }
            match answered.verdicts[at] {
                Verdict::Later(Cause::Asked) => {
                    if let Value::ServerError(error) = &answered.answers[at]
                        && let Some(to) = target(error.details().unwrap_or_default(), &lane.address)
                    {
                        asked.entry(to).or_default().push(at);
                    }
                }
                Verdict::Later(Cause::Split) => {
                    let key = context.name(&queued.item.channel);
                    if let Some(to) = context.map.importing(queued.slot)
                        && !hand_over(context, connection, &to.address, &[key], deadline).await
                    {
                        answered.verdicts[at] = Verdict::Refused(publisher::SPLIT);
                    }
                }
                _ => {}
            }
        }
        for (to, places) in asked {
            // What was published with these keys before must be found where they are looked for.
            for key in places.iter().filter_map(|at| id_key(context, &batch[*at])) {
                _ = hand_over(context, connection, &to, &[key], deadline).await;
            }
            self.ask(context, &to, batch, &places, answered, deadline).await;
        }
    }

    async fn ask(
        &mut self,
        context: &Context,
        to: &Address,
        batch: &[Queued],
        places: &[usize],
        answered: &mut Answered,
        deadline: Instant,
    ) {
        let Some(mut remote) = self.remote(context, to).await else { return };
        let mut pipeline = Pipeline::with_capacity(2 * places.len() + 2);
        for at in places {
            pipeline.cmd("ASKING");
            publisher::ask(context, &mut pipeline, &batch[*at], None);
        }
        let waits = remote.replicas.are_waited_for();
        if waits {
            pipeline.cmd("WAIT").arg(1).arg(REPLICA_TIMEOUT.as_millis() as u64);
        }
        pipeline.cmd("ROLE");
        let asking = remote.connection.req_packed_commands(&pipeline, 0, pipeline.len());
        let Ok(Ok(mut answers)) = timeout_at(deadline, asking).await else {
            for at in places {
                answered.verdicts[*at] = Verdict::Refused(publisher::UNANSWERED);
            }
            context.state.moves_fail(&format_args!("{to} does not answer"));
            return;
        };
        remote.replicas.counted(answers.last());
        let is_confirmed = |answer: Option<&Value>| matches!(answer, Some(Value::Int(1..)));
        let confirmed =
            !waits || remote.replicas.waited(is_confirmed(answers.get(2 * places.len())));
        let (mut lacks, mut refused) = (false, false);
        for (number, at) in places.iter().enumerate() {
            if let Some(Value::ServerError(error)) = answers.get(2 * number) {
                is_refused(context, to, &format_args!("{error:?}"));
                answered.verdicts[*at] = Verdict::Refused(publisher::SPLIT);
                refused = true;
                continue;
            }
            let Some(answer) = answers.get_mut(2 * number + 1) else { continue };
            answered.verdicts[*at] = Verdict::of(answer);
            answered.answers[*at] = std::mem::replace(answer, Value::Nil);
            answered.elsewhere.insert(*at, confirmed);
            if answered.verdicts[*at] == Verdict::Later(Cause::NoFunction) {
                // The functions are installed with the next connection.
                answered.verdicts[*at] = Verdict::Later(Cause::Asked);
                lacks = true;
            }
        }
        if !refused {
            context.state.moves_work();
        }
        if !lacks {
            self.remotes.insert(to.clone(), remote);
        }
    }

    /// The connection to this master. None: there is none now.
    async fn remote(&mut self, context: &Context, to: &Address) -> Option<Remote> {
        if let Some(remote) = self.remotes.remove(to) {
            return Some(remote);
        }
        let now = Instant::now();
        self.away.retain(|_, until| *until > now);
        if self.away.contains_key(to) {
            return None;
        }
        let server = Server {
            address: to.clone(),
            login: context.login.clone(),
            trust: context.trust.clone(),
        };
        match open(&server, context).await {
            Ok(remote) => Some(remote),
            Err(why) => {
                telemetry::slot_is_stuck(&format_args!("{to}: {why}"));
                context.state.moves_fail(&format_args!("{to}: {why}"));
                self.away.insert(to.clone(), Instant::now() + RETRY_PAUSE);
                None
            }
        }
    }
}

/// A connection to a master that has the functions.
async fn open(server: &Server, context: &Context) -> Result<Remote, String> {
    let opened = Link::new(server).open_within(OPEN_TIMEOUT).await;
    let mut connection = opened.map_err(|error| error.to_string())?;
    let preparing = async {
        let mut role = Pipeline::new();
        role.cmd("ROLE");
        let answers = connection.req_packed_commands(&role, 0, 1).await?;
        if !context.is_visitor {
            let library = context.library.current();
            library.install(&mut connection, &PastHistory::default()).await?;
        }
        Ok::<_, RedisError>(Replicas::of(answers.first()))
    };
    match timeout(OPEN_TIMEOUT, preparing).await {
        Ok(Ok(replicas)) => Ok(Remote { connection, replicas }),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

/// Moves keys on. False: they stay.
async fn hand_over(
    context: &Context,
    connection: &mut MultiplexedConnection,
    to: &Address,
    keys: &[String],
    deadline: Instant,
) -> bool {
    let mut pipeline = Pipeline::new();
    pipeline.add_command(migrate(to, &context.login, keys));
    let asking = connection.req_packed_commands(&pipeline, 0, 1);
    let why = match timeout_at(deadline, asking).await {
        Ok(Ok(answers)) => match answers.first() {
            Some(Value::ServerError(error)) => format!("{error:?}"),
            _ => return true,
        },
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer".to_owned(),
    };
    stays(context, to, &why);
    false
}

/// Tells that a master does not let itself be asked for what is on its way to it.
pub fn is_refused(context: &Context, to: &Address, error: &dyn Display) {
    let why = format!("{to} refuses to be asked: {error}");
    telemetry::slot_is_stuck(&why);
    context.state.moves_fail(&why);
}

/// Tells that keys could not be moved on.
pub fn stays(context: &Context, to: &Address, why: &str) {
    let why = format!("its keys cannot be moved on to {to}: {why}");
    telemetry::slot_is_stuck(&why);
    context.state.moves_fail(&why);
}

/// Where the functions keep the publication's idempotency key (`idempotency.lua`). None: it has none, or its
/// channel's name has a brace that closes none, whose key is known to the functions alone.
fn id_key(context: &Context, queued: &Queued) -> Option<String> {
    let publication = &queued.item.publication;
    let id = publication.id.as_deref()?;
    let publisher = match (&publication.user, publication.session) {
        (Some(user), _) => format!("user {} {user}", user.len()),
        (None, Some(session)) => {
            let session = session.to_string();
            format!("session {} {session}", session.len())
        }
        (None, None) => "service".to_owned(),
    };
    let of_channel = companion(&context.prefix, "id", &context.name(&queued.item.channel));
    let key = format!("{of_channel} {publisher} {id}");
    (slot::of(key.as_bytes()) == queued.slot).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(command: &Cmd) -> String {
        let words = words(command).into_iter().map(String::from_utf8_lossy);
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_ask_points_at_a_server() {
        let of = Address::new("10.0.0.1", 7000);
        assert_eq!(target("3999 10.0.0.2:7001", &of), Some(Address::new("10.0.0.2", 7001)));
        assert_eq!(target("3999 fd00::2:7001", &of), Some(Address::new("fd00::2", 7001)));
        assert_eq!(target("3999 :7001", &of), Some(Address::new("10.0.0.1", 7001)));
        for bad in ["", "3999", "3999 host", "3999 host:x"] {
            assert_eq!(target(bad, &of), None, "{bad}");
        }
    }

    #[test]
    fn a_call_of_several_keys_is_made_one_of_its_first() {
        let call = |words: &str| {
            let mut call = Cmd::new();
            words.split(' ').for_each(|word| _ = call.arg(word));
            call
        };
        let two = call("FCALL f 2 a b 2 x");
        assert_eq!(keys(&two), ["a", "b"]);
        assert_eq!(text(&with_one_key(&two)), "FCALL f 1 a 2 x");
        for other in ["FCALL f 1 a 2 x", "XRANGE a - + COUNT 2"] {
            assert_eq!(text(&with_one_key(&call(other))), other);
        }
    }

    #[test]
    fn keys_are_moved_on_with_the_login_of_the_cluster() {
        let (to, keys) = (Address::new("h", 1), ["a".to_owned(), "b".to_owned()]);
        let login = RedisConnectionInfo::default();
        let begin = "MIGRATE h 1  0 1000";
        assert_eq!(text(&migrate(&to, &login, &keys)), format!("{begin} KEYS a b"));
        let login = login.set_password("p");
        assert_eq!(text(&migrate(&to, &login, &keys)), format!("{begin} AUTH p KEYS a b"));
        let login = login.set_username("u");
        assert_eq!(text(&migrate(&to, &login, &keys)), format!("{begin} AUTH2 u p KEYS a b"));
    }
}
