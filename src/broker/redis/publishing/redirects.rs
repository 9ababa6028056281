//! The way for publications to masters that slots move to.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{Pipeline, RedisError, Value};
use tokio::time::{Instant, timeout, timeout_at};

use super::command;
use super::master_queue::QueuedPublication;
use super::publish_outcome::{PublishOutcome, SPLIT, UNANSWERED};
use super::replicas::{REPLICA_TIMEOUT, Replicas};
use crate::broker::redis::connection::cause::Cause;
use crate::broker::redis::connection::link::Link;
use crate::broker::redis::connection::server::{RedisServer, ServerAddress};
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::lanes::slot;
use crate::broker::redis::moving;
use crate::broker::redis::rules::bypassed_history::BypassedHistory;
use crate::broker::redis::sibling_key::sibling_key;
use crate::telemetry;

/// How long each step of connecting to the new master, and making it ready, may take: publications for
/// other masters wait meanwhile.
const OPEN_TIMEOUT: Duration = Duration::from_millis(500);

/// How long one that could not be reached is left alone.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A connection to each of the masters, for one publisher.
#[derive(Default)]
pub struct Redirects {
    remotes: HashMap<ServerAddress, RedirectTarget>,
    /// Until when one that could not be reached is left alone.
    away: HashMap<ServerAddress, Instant>,
}

/// A batch, some of which was asked of a master that no longer has it.
pub struct RedirectedBatch<'a> {
    pub context: &'a RedisContext,
    /// The lane that was asked first.
    pub lane: &'a Lane,
    pub batch: &'a [QueuedPublication],
    pub deadline: Instant,
}

/// What a batch was answered.
pub struct BatchAnswers {
    pub answers: Vec<Value>,
    pub verdicts: Vec<PublishOutcome>,
    /// Of those that were asked of another master, whether a replica of it has them.
    pub elsewhere: HashMap<usize, bool>,
}

impl Redirects {
    /// Asks other masters for what the one that was asked first says is theirs, in the order of the batch, and puts
    /// their answers in place of its. What cannot be done now goes out again.
    ///
    /// `connection`: that to the first.
    pub async fn take(
        &mut self,
        trip: &RedirectedBatch<'_>,
        connection: &mut MultiplexedConnection,
        answered: &mut BatchAnswers,
    ) {
        let _still = trip.context.detours.read().await;
        for (to, places) in trip.asked_elsewhere(connection, answered).await {
            // What was published with these keys before must be found where they are looked for.
            for key in places.iter().filter_map(|at| id_key(trip.context, &trip.batch[*at])) {
                _ = trip.hand_over(connection, &to, &[key]).await;
            }
            self.ask(trip, &to, &places, answered).await;
        }
    }

    async fn ask(
        &mut self,
        trip: &RedirectedBatch<'_>,
        to: &ServerAddress,
        places: &[usize],
        answered: &mut BatchAnswers,
    ) {
        let Some(mut remote) = self.remote(trip.context, to).await else { return };
        let state = &trip.context.state;
        let Some((mut answers, confirmed)) = remote.ask(trip, places).await else {
            places
                .iter()
                .for_each(|at| answered.verdicts[*at] = PublishOutcome::Refused(UNANSWERED));
            state.moves_fail(&format_args!("{to} does not answer"));
            return;
        };
        let (mut lacks, mut refused) = (false, false);
        for (number, at) in places.iter().enumerate() {
            if let Some(Value::ServerError(error)) = answers.get(2 * number) {
                moving::is_refused(state, to, &format_args!("{error:?}"));
                answered.verdicts[*at] = PublishOutcome::Refused(SPLIT);
                refused = true;
            } else if let Some(answer) = answers.get_mut(2 * number + 1) {
                lacks |= answered.replace(*at, std::mem::replace(answer, Value::Nil), confirmed);
            }
        }
        if !refused {
            state.moves_work();
        }
        if !lacks {
            self.remotes.insert(to.clone(), remote);
        }
    }

    /// The connection to this master. None: there is none now.
    async fn remote(
        &mut self,
        context: &RedisContext,
        to: &ServerAddress,
    ) -> Option<RedirectTarget> {
        if let Some(remote) = self.remotes.remove(to) {
            return Some(remote);
        }
        let now = Instant::now();
        self.away.retain(|_, until| *until > now);
        if self.away.contains_key(to) {
            return None;
        }
        match open(&context.server(to), context).await {
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

impl BatchAnswers {
    /// Puts the answer of another master in place of the first one's. True: that one lacks the functions, which
    /// are installed with the next connection.
    fn replace(&mut self, at: usize, answer: Value, confirmed: bool) -> bool {
        let verdict = PublishOutcome::of(&answer);
        let lacks = verdict == PublishOutcome::Later(Cause::NoFunction);
        self.verdicts[at] = if lacks { PublishOutcome::Later(Cause::Asked) } else { verdict };
        self.answers[at] = answer;
        self.elsewhere.insert(at, confirmed);
        lacks
    }
}

impl RedirectedBatch<'_> {
    /// What the first master says is at others: their addresses, and the places in the batch. Keys that are at both
    /// are moved on.
    async fn asked_elsewhere(
        &self,
        connection: &mut MultiplexedConnection,
        answered: &mut BatchAnswers,
    ) -> BTreeMap<ServerAddress, Vec<usize>> {
        let Self { context, lane, batch, .. } = self;
        let mut asked: BTreeMap<ServerAddress, Vec<usize>> = BTreeMap::new();
        for (at, queued) in batch.iter().enumerate() {
            if !context.map.owns_slot(lane.number, queued.slot) {
                // It has moved meanwhile, and is put in line there.
                continue;
            }
            match answered.verdicts[at] {
                PublishOutcome::Later(Cause::Asked) => {
                    if let Value::ServerError(error) = &answered.answers[at]
                        && let details = error.details().unwrap_or_default()
                        && let Some(to) = moving::target(details, &lane.address)
                    {
                        asked.entry(to).or_default().push(at);
                    }
                }
                PublishOutcome::Later(Cause::Split) => {
                    let key = context.name(&queued.item.channel);
                    if let Some(to) = context.map.importing(queued.slot)
                        && !self.hand_over(connection, &to.address, &[key]).await
                    {
                        answered.verdicts[at] = PublishOutcome::Refused(SPLIT);
                    }
                }
                _ => {}
            }
        }
        asked
    }

    /// Moves keys on. False: they stay.
    async fn hand_over(
        &self,
        connection: &mut MultiplexedConnection,
        to: &ServerAddress,
        keys: &[String],
    ) -> bool {
        let mut pipeline = Pipeline::new();
        pipeline.add_command(moving::migrate(to, &self.context.login, keys));
        let asking = connection.req_packed_commands(&pipeline, 0, 1);
        let why = match timeout_at(self.deadline, asking).await {
            Ok(Ok(answers)) => match answers.first() {
                Some(Value::ServerError(error)) => format!("{error:?}"),
                _ => return true,
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        moving::stays(&self.context.state, to, &why);
        false
    }
}

struct RedirectTarget {
    connection: MultiplexedConnection,
    replicas: Replicas,
}

impl RedirectTarget {
    /// Asks for the publications at these places: two answers for each, of which the first is that to `ASKING`; and
    /// whether a replica has what was appended. None: it does not answer.
    async fn ask(
        &mut self,
        trip: &RedirectedBatch<'_>,
        places: &[usize],
    ) -> Option<(Vec<Value>, bool)> {
        let mut pipeline = Pipeline::with_capacity(2 * places.len() + 2);
        for at in places {
            pipeline.cmd("ASKING");
            command::add(trip.context, &mut pipeline, &trip.batch[*at], None);
        }
        let waits = self.replicas.are_waited_for();
        if waits {
            pipeline.cmd("WAIT").arg(1).arg(REPLICA_TIMEOUT.as_millis() as u64);
        }
        pipeline.cmd("ROLE");
        let asking = self.connection.req_packed_commands(&pipeline, 0, pipeline.len());
        let answers = timeout_at(trip.deadline, asking).await.ok()?.ok()?;
        self.replicas.counted(answers.last());
        let is_confirmed = matches!(answers.get(2 * places.len()), Some(Value::Int(1..)));
        let confirmed = !waits || self.replicas.waited(is_confirmed);
        Some((answers, confirmed))
    }
}

/// A connection to a master that has the functions.
async fn open(server: &RedisServer, context: &RedisContext) -> Result<RedirectTarget, String> {
    let opened = Link::new(server).open_within(OPEN_TIMEOUT).await;
    let mut connection = opened.map_err(|error| error.to_string())?;
    let preparing = async {
        let mut role = Pipeline::new();
        role.cmd("ROLE");
        let answers = connection.req_packed_commands(&role, 0, 1).await?;
        if !context.is_visitor {
            let library = context.library.current();
            library.install(&mut connection, &BypassedHistory::default()).await?;
        }
        Ok::<_, RedisError>(Replicas::of(answers.first()))
    };
    match timeout(OPEN_TIMEOUT, preparing).await {
        Ok(Ok(replicas)) => Ok(RedirectTarget { connection, replicas }),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

/// Where the functions keep the publication's idempotency key (`idempotency.lua`). None: it has none, or its
/// channel's name has a brace that closes none, whose key is known to the functions alone.
fn id_key(context: &RedisContext, queued: &QueuedPublication) -> Option<String> {
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
    let of_channel = sibling_key(&context.prefix, "id", &context.name(&queued.item.channel));
    let key = format!("{of_channel} {publisher} {id}");
    (slot::of(key.as_bytes()) == queued.slot).then_some(key)
}
