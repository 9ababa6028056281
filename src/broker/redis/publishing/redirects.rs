//! Redirects publications to the masters that their slots move to.

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
use crate::publication::Publisher;
use crate::telemetry;

/// How long each of connecting to the new master and preparing the connection may take:
/// publications for other masters wait meanwhile.
const OPEN_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a master that could not be reached is not tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The redirect targets of one publisher, with a connection to each.
#[derive(Default)]
pub struct Redirects {
    targets: HashMap<ServerAddress, RedirectTarget>,
    /// Masters that could not be reached, and when they may be tried again.
    unreachable_until: HashMap<ServerAddress, Instant>,
}

/// A batch of which some publications have to be redirected.
pub struct RedirectedBatch<'a> {
    pub context: &'a RedisContext,
    /// The lane of the master that replied first.
    pub lane: &'a Lane,
    pub batch: &'a [QueuedPublication],
    pub deadline: Instant,
}

/// The replies to a batch, and their outcomes.
pub struct BatchAnswers {
    pub answers: Vec<Value>,
    pub outcomes: Vec<PublishOutcome>,
    /// Indices of the redirected publications, with whether a replica of the new master has them.
    pub redirected: HashMap<usize, bool>,
}

impl Redirects {
    /// Sends redirected publications to the new masters, in the batch's order, and replaces the
    /// first master's replies. What cannot be done now is retried.
    ///
    /// `connection`: the one to the first master.
    pub async fn follow(
        &mut self,
        redirected: &RedirectedBatch<'_>,
        connection: &mut MultiplexedConnection,
        answered: &mut BatchAnswers,
    ) {
        let _layout = redirected.context.layout_lock.read().await;
        for (to, indices) in redirected.redirect_targets(connection, answered).await {
            // The new master must find what was published with these idempotency keys before, and the leases of runs.
            for key in indices.iter().flat_map(|at| keys_beside(redirected, *at)) {
                _ = redirected.migrate(connection, &to, &[key]).await;
            }
            self.send(redirected, &to, &indices, answered).await;
        }
    }

    async fn send(
        &mut self,
        redirected: &RedirectedBatch<'_>,
        to: &ServerAddress,
        indices: &[usize],
        answered: &mut BatchAnswers,
    ) {
        let Some(mut target) = self.target(redirected.context, to).await else { return };
        let state = &redirected.context.state;
        let Some((mut answers, confirmed)) = target.send(redirected, indices).await else {
            indices
                .iter()
                .for_each(|at| answered.outcomes[*at] = PublishOutcome::Refused(UNANSWERED));
            state.moves_fail(&format_args!("{to} does not answer"));
            return;
        };
        let (mut lacks_functions, mut refused) = (false, false);
        for (number, at) in indices.iter().enumerate() {
            if let Some(Value::ServerError(error)) = answers.get(2 * number) {
                moving::report_refused(state, to, &format_args!("{error:?}"));
                answered.outcomes[*at] = PublishOutcome::Refused(SPLIT);
                refused = true;
            } else if let Some(answer) = answers.get_mut(2 * number + 1) {
                lacks_functions |=
                    answered.replace(*at, std::mem::replace(answer, Value::Nil), confirmed);
            }
        }
        if !refused {
            state.moves_work();
        }
        if !lacks_functions {
            self.targets.insert(to.clone(), target);
        }
    }

    /// A connection to this master. `None`: it cannot be reached now.
    async fn target(
        &mut self,
        context: &RedisContext,
        to: &ServerAddress,
    ) -> Option<RedirectTarget> {
        if let Some(target) = self.targets.remove(to) {
            return Some(target);
        }
        let now = Instant::now();
        self.unreachable_until.retain(|_, until| *until > now);
        if self.unreachable_until.contains_key(to) {
            return None;
        }
        match open(&context.server(to), context).await {
            Ok(target) => Some(target),
            Err(why) => {
                telemetry::slot_is_stuck(&format_args!("{to}: {why}"));
                context.state.moves_fail(&format_args!("{to}: {why}"));
                self.unreachable_until.insert(to.clone(), Instant::now() + RETRY_PAUSE);
                None
            }
        }
    }
}

impl BatchAnswers {
    /// Replaces a reply of the first master by that of the new one. True: the new one lacks the
    /// functions, which are installed with the next connection.
    fn replace(&mut self, at: usize, answer: Value, confirmed: bool) -> bool {
        let outcome = PublishOutcome::of(&answer);
        let lacks_functions = outcome == PublishOutcome::Retry(Cause::NoFunction);
        self.outcomes[at] =
            if lacks_functions { PublishOutcome::Retry(Cause::Ask) } else { outcome };
        self.answers[at] = answer;
        self.redirected.insert(at, confirmed);
        lacks_functions
    }
}

impl RedirectedBatch<'_> {
    /// The addresses that the first master redirects to, with the indices in the batch. Keys that
    /// are split over both masters are migrated.
    async fn redirect_targets(
        &self,
        connection: &mut MultiplexedConnection,
        answered: &mut BatchAnswers,
    ) -> BTreeMap<ServerAddress, Vec<usize>> {
        let Self { context, lane, batch, .. } = self;
        let mut targets: BTreeMap<ServerAddress, Vec<usize>> = BTreeMap::new();
        for (at, queued) in batch.iter().enumerate() {
            if !context.map.owns_slot(lane.number, queued.slot) {
                // The slot has moved meanwhile, so the publication is queued at its new master.
                continue;
            }
            match answered.outcomes[at] {
                PublishOutcome::Retry(Cause::Ask) => {
                    if let Value::ServerError(error) = &answered.answers[at]
                        && let details = error.details().unwrap_or_default()
                        && let Some(to) = moving::target(details, &lane.address)
                    {
                        targets.entry(to).or_default().push(at);
                    }
                }
                PublishOutcome::Retry(Cause::TryAgain) => {
                    let key = context.name(&queued.request.channel);
                    if let Some(to) = context.map.importing(queued.slot)
                        && !self.migrate(connection, &to.address, &[key]).await
                    {
                        answered.outcomes[at] = PublishOutcome::Refused(SPLIT);
                    }
                }
                _ => {}
            }
        }
        targets
    }

    /// Migrates keys. False: they could not be migrated.
    async fn migrate(
        &self,
        connection: &mut MultiplexedConnection,
        to: &ServerAddress,
        keys: &[String],
    ) -> bool {
        let mut pipeline = Pipeline::new();
        pipeline.add_command(moving::migrate(to, &self.context.login, keys));
        let sending = connection.req_packed_commands(&pipeline, 0, 1);
        let why = match timeout_at(self.deadline, sending).await {
            Ok(Ok(answers)) => match answers.first() {
                Some(Value::ServerError(error)) => format!("{error:?}"),
                _ => return true,
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        moving::report_stuck(&self.context.state, to, &why);
        false
    }
}

struct RedirectTarget {
    connection: MultiplexedConnection,
    replicas: Replicas,
}

impl RedirectTarget {
    /// Sends the publications at these indices. Returns two replies for each, the first being that
    /// to `ASKING`, and whether a replica has what was appended. `None`: no reply.
    async fn send(
        &mut self,
        redirected: &RedirectedBatch<'_>,
        indices: &[usize],
    ) -> Option<(Vec<Value>, bool)> {
        let mut pipeline = Pipeline::with_capacity(2 * indices.len() + 2);
        for at in indices {
            pipeline.cmd("ASKING");
            command::add(redirected.context, &mut pipeline, &redirected.batch[*at], None);
        }
        let has_wait = self.replicas.should_wait();
        if has_wait {
            pipeline.cmd("WAIT").arg(1).arg(REPLICA_TIMEOUT.as_millis() as u64);
        }
        pipeline.cmd("ROLE");
        let sending = self.connection.req_packed_commands(&pipeline, 0, pipeline.len());
        let answers = timeout_at(redirected.deadline, sending).await.ok()?.ok()?;
        self.replicas.update(answers.last());
        let is_confirmed = matches!(answers.get(2 * indices.len()), Some(Value::Int(1..)));
        let confirmed = !has_wait || self.replicas.record_wait(is_confirmed);
        Some((answers, confirmed))
    }
}

/// Connects to a master, and installs the functions.
async fn open(server: &RedisServer, context: &RedisContext) -> Result<RedirectTarget, String> {
    let opened = Link::new(server).open_within(OPEN_TIMEOUT).await;
    let mut connection = opened.map_err(|error| error.to_string())?;
    let preparing = async {
        let mut role = Pipeline::new();
        role.cmd("ROLE");
        let answers = connection.req_packed_commands(&role, 0, 1).await?;
        if !context.is_command {
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

/// The keys that the function needs beside the channel's own.
fn keys_beside(redirected: &RedirectedBatch<'_>, at: usize) -> impl Iterator<Item = String> {
    let (context, queued) = (redirected.context, &redirected.batch[at]);
    let name = context.name(&queued.request.channel);
    let siblings = [context.lease_key(&name), context.stream_key(&name)];
    id_key(context, queued).into_iter().chain(siblings.into_iter().flatten())
}

/// The key in which the functions store the publication's idempotency key (`idempotency.lua`).
/// `None`: it has none, or its channel's name has an unbalanced brace, for which only the functions
/// know the key.
fn id_key(context: &RedisContext, queued: &QueuedPublication) -> Option<String> {
    let publication = &queued.request.publication;
    let id = publication.id.as_deref()?;
    let publisher = match publication.publisher() {
        Publisher::User(user) => format!("user {} {user}", user.len()),
        Publisher::Anonymous => "anonymous".to_owned(),
        Publisher::Service => "service".to_owned(),
    };
    let of_channel = sibling_key(&context.prefix, "id", &context.name(&queued.request.channel));
    let key = format!("{of_channel} {publisher} {id}");
    (slot::of(key.as_bytes()) == queued.slot).then_some(key)
}
