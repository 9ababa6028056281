//! Publishing to one master: what waits in its line goes out as one pipeline over one connection,
//! so that batches grow by themselves under load and publications of a channel keep their order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{Pipeline, RedisResult, Value};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::broker::redis::announcement;
use crate::broker::redis::connection::link::Backoff;
use crate::broker::redis::context::Context;
use crate::broker::redis::functions::library::Found;
use crate::broker::redis::header;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::moving::{Answered, Detour};
use crate::broker::redis::publishing::limits::Limits;
use crate::broker::redis::publishing::line::{Most, Queued};
use crate::broker::redis::publishing::replicas::{REPLICA_TIMEOUT, Replicas};
use crate::broker::redis::publishing::verdict::{Cause, Verdict};
use crate::broker::redis::rules::routing::PastHistory;
use crate::broker::redis::secret::{self, Secret};
use crate::broker::redis::state::Part;
use crate::broker::{TOO_LARGE, Unavailable};
use crate::publication::Channel;
use crate::telemetry;

/// What goes out in one pipeline. The crate's connection keeps a buffer as large as the largest.
const BATCH: Most = Most { publications: 512, bytes: 256 << 10 };

/// The least time Redis is given, also for a batch whose deadline is nearly over: a connection just
/// made again must not be given up for publications that waited for it.
const ANSWER_TIME_MIN: Duration = Duration::from_millis(200);

/// How often the server is asked whether it is a master still.
const ROLE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a new connection may take to be made ready for publishing.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long it is left at that when Redis has refused the functions.
const LACKING_PAUSE: Duration = Duration::from_secs(5);

/// Pauses before what Redis could not do yet goes out again: the first, and the longest.
const AGAIN_PAUSE: Duration = Duration::from_millis(10);
const AGAIN_PAUSE_MAX: Duration = Duration::from_millis(200);

pub const UNANSWERED: Unavailable =
    Unavailable("redis did not answer: the publication may or may not have gone out");
const UNCONFIRMED: Unavailable =
    Unavailable("redis took the publication and no replica confirmed it: it may be lost");
const OVERTAKEN: Unavailable =
    Unavailable("redis refused the publication and took a later one of its channel");

pub const SPLIT: Unavailable =
    Unavailable("redis is half way through moving the channel to another master");

const LACKING: Unavailable = Unavailable("redis lacks the functions that history needs");

const REPLICA: &str = "it is a replica";

/// Publishes what stands in the lane's line, for ever.
pub async fn run(lane: Arc<Lane>, context: Arc<Context>) {
    let mut publisher = Publisher {
        lane,
        context,
        refused: false,
        asked_again: 0,
        replicas: Replicas::default(),
        limits: Limits::default(),
        detour: Detour::default(),
        lacks_until: None,
    };
    let lane = publisher.lane.clone();
    let mut backoff = Backoff::default();
    loop {
        let connected = tokio::select! {
            connected = publisher.connect() => connected,
            never = lane.line.expire() => match never {},
        };
        let why = match connected {
            Ok(connection) => {
                backoff.connected();
                lane.state.works(Part::Publisher);
                lane.line.set_stuck(None);
                let Lost { asked, why } = publisher.publish(connection).await;
                lane.line.set_stuck(Some(asked));
                why
            }
            Err(why) => why,
        };
        lane.state.fails(Part::Publisher, &why);
        lane.doubt();
        tokio::select! {
            () = sleep(backoff.next()) => telemetry::broker_reconnecting(),
            never = lane.line.expire() => match never {},
        }
    }
}

/// The connection broke, or Redis hangs or is no master.
struct Lost {
    asked: Instant,
    why: String,
}

struct Publisher {
    lane: Arc<Lane>,
    context: Arc<Context>,
    /// Redis refused something of the last batch.
    refused: bool,
    /// How many batches in a row had something that goes out again.
    asked_again: u32,
    replicas: Replicas,
    limits: Limits,
    detour: Detour,
    /// Redis refused the functions, and is not asked to take them again before.
    lacks_until: Option<Instant>,
}

/// Publications that Redis has been handed and has not answered. Whoever gives up waiting, even by
/// being dropped, tells them so.
struct Flight(Vec<Queued>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|queued| queued.item.answer(Err(UNANSWERED)));
    }
}

impl Publisher {
    /// A connection to a server that is a master and has the functions.
    async fn connect(&mut self) -> Result<MultiplexedConnection, String> {
        let mut connection = self.lane.link.open().await.map_err(|error| error.to_string())?;
        let this = &mut *self;
        let preparing = async {
            let mut role = Pipeline::new();
            role.cmd("ROLE");
            this.limits = Limits::default();
            this.limits.ask(&mut role);
            let answers = connection.req_packed_commands(&role, 0, role.len()).await;
            let answers = answers.map_err(|error| error.to_string())?;
            if answers.first().is_some_and(is_replica) {
                return Err(REPLICA.to_owned());
            }
            this.replicas = Replicas::of(answers.first());
            this.limits.learn(answers.get(1..).unwrap_or_default());
            // Without them channels without history work all the same.
            let _ = this.install(&mut connection).await;
            let answer = secret::question().query_async(&mut connection).await;
            this.learn_secret(answer.as_ref().unwrap_or(&Value::Nil));
            Ok(())
        };
        match timeout(PREPARE_TIMEOUT, preparing).await {
            Ok(prepared) => prepared.map(|()| connection),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    /// Installs the functions, and takes up the rules there. A visitor takes them as they are.
    async fn install(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let library = self.context.library.current();
        let found = match self.context.is_visitor {
            true => library.read(connection).await,
            false => library.install(connection, &PastHistory::default()).await,
        };
        match found {
            Ok(found) => {
                self.context.learn_and_tell(&self.lane, &found);
                Ok(())
            }
            Err(error) => {
                telemetry::broker_refused("FUNCTION LOAD", "", &error);
                Err(error)
            }
        }
    }

    /// Installs the functions that turned out to be missing. Where Redis refuses them, whoever
    /// needs them is told so for a while, and not kept waiting.
    async fn mend(&mut self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        match timeout(PREPARE_TIMEOUT, self.install(connection)).await {
            Ok(Ok(())) => self.lacks_until = None,
            Ok(Err(error)) if error.is_io_error() => return Err(error.to_string()),
            Ok(Err(_)) if self.context.is_visitor => {
                // As if there were none: what a visitor publishes goes out plainly.
                self.context.learn_and_tell(&self.lane, &Found::default());
            }
            Ok(Err(_)) => self.lacks_until = Some(Instant::now() + LACKING_PAUSE),
            Err(_) => return Err("no answer".to_owned()),
        }
        Ok(())
    }

    /// Notes what the server's functions sign with. True: it has no such function, and may be asked to take
    /// them.
    fn learn_secret(&self, answer: &Value) -> bool {
        if let Value::BulkString(answer) = answer {
            self.lane.learn(&self.context.secrets, answer);
        }
        Verdict::of(answer) == Verdict::Later(Cause::NoFunction) && !self.is_refused_functions()
    }

    /// Has Redis refused to take the functions a short while ago?
    fn is_refused_functions(&self) -> bool {
        self.lacks_until.is_some_and(|until| Instant::now() < until)
    }

    async fn publish(&mut self, mut connection: MultiplexedConnection) -> Lost {
        let mut role_asked = Instant::now();
        loop {
            self.lane.line.news().await;
            // Whoever turns to other rules waits for what goes out by those from before.
            let lane = self.lane.clone();
            let _flight = lane.flight.lock().await;
            let mut flight = Flight(self.context.map.take(&self.lane, BATCH));
            let secret = self.lane.secret.current();
            let key = (*secret).as_ref().or(self.context.secrets.configured()).map(Secret::as_str);
            refuse_too_large(&mut self.limits, &self.context, &mut flight.0, key);
            let Some(oldest) = flight.0.first() else { continue };
            let asked = Instant::now();
            let deadline = oldest.item.deadline.max(asked + ANSWER_TIME_MIN + REPLICA_TIMEOUT);
            let mut pipeline = Pipeline::with_capacity(flight.0.len() + 1);
            flight.0.iter().for_each(|queued| ask(&self.context, &mut pipeline, queued, key));
            let waits = self.replicas.are_waited_for() && self.appends(&flight.0);
            if waits {
                pipeline.cmd("WAIT").arg(1).arg(REPLICA_TIMEOUT.as_millis() as u64);
            }
            let asks_role = role_asked + ROLE_INTERVAL <= asked;
            if asks_role {
                self.limits.ask(&mut pipeline);
                // It changes where an operator replaces the functions by others.
                pipeline.add_command(secret::question()).cmd("ROLE");
                role_asked = asked;
            }
            let answers = connection.req_packed_commands(&pipeline, 0, pipeline.len());
            let answers = match timeout_at(deadline, answers).await {
                Ok(Ok(answers)) => answers,
                Ok(Err(error)) => return Lost { asked, why: error.to_string() },
                Err(_) => return Lost { asked, why: "no answer".to_owned() },
            };
            if asks_role && answers.last().is_some_and(is_replica) {
                // What it took reached nobody but its own subscribers.
                self.lane.demoted.notify_waiters();
                return Lost { asked, why: REPLICA.to_owned() };
            }
            let confirmed = !waits || {
                let replicas = answers.get(flight.0.len());
                self.replicas.waited(replicas.is_some_and(|it| matches!(it, Value::Int(1..))))
            };
            let mut is_lacking = false;
            if asks_role {
                self.replicas.counted(answers.last());
                is_lacking = self.learn_secret(answers.iter().nth_back(1).unwrap_or(&Value::Nil));
                let of_limits = flight.0.len() + usize::from(waits);
                self.limits.learn(answers.get(of_limits..).unwrap_or_default());
            }
            let answered = self.judge(&mut connection, &flight.0, answers, deadline).await;
            let batch = std::mem::take(&mut flight.0);
            match self.answer(batch, answered, confirmed) {
                None if is_lacking => match self.mend(&mut connection).await {
                    Ok(()) => {}
                    Err(why) => return Lost { asked, why },
                },
                None => self.asked_again = 0,
                Some(Cause::NoFunction) => match self.mend(&mut connection).await {
                    Ok(()) => self.pause().await,
                    Err(why) => return Lost { asked, why },
                },
                Some(cause) => {
                    if cause == Cause::Moved {
                        self.lane.doubt();
                    }
                    self.pause().await;
                }
            }
        }
    }

    /// Is any of them appended to a history?
    fn appends(&self, batch: &[Queued]) -> bool {
        batch.iter().any(|queued| self.context.appends(queued.item.channel.as_str()))
    }

    /// What the answers mean; of slots that move, those of the masters that they move to.
    async fn judge(
        &mut self,
        connection: &mut MultiplexedConnection,
        batch: &[Queued],
        answers: Vec<Value>,
        deadline: Instant,
    ) -> Answered {
        let lacks = self.is_refused_functions();
        let verdict = |answer| match Verdict::of(answer) {
            Verdict::Later(Cause::NoFunction) if lacks => Verdict::Refused(LACKING),
            verdict => verdict,
        };
        let verdicts: Vec<_> = answers.iter().map(verdict).collect();
        let mut answered = Answered { answers, verdicts, elsewhere: HashMap::new() };
        let moves = |(at, _): &(usize, &Queued)| {
            matches!(answered.verdicts.get(*at), Some(Verdict::Later(Cause::Asked | Cause::Split)))
        };
        let mut moving = batch.iter().enumerate().filter(moves).peekable();
        if moving.peek().is_some() {
            if moving.any(|(_, queued)| self.context.map.importing(queued.slot).is_none()) {
                self.lane.doubt();
            }
            let (first, detour) = ((&*self.lane, connection), &mut self.detour);
            detour.take(&self.context, first, batch, &mut answered, deadline).await;
        }
        answered
    }

    /// Tells each publisher. What may go out again stands first in line again, unless a later one
    /// of its channel has gone out: then it is too late. Returns why something is to go out again.
    ///
    /// `confirmed`: what was appended to histories here is on a replica, as far as there are any.
    fn answer(&mut self, batch: Vec<Queued>, answered: Answered, confirmed: bool) -> Option<Cause> {
        let Answered { answers, verdicts, elsewhere } = answered;
        self.tell_refusal(&batch, &verdicts, &answers);
        let cause = verdicts.iter().take(batch.len()).find_map(|verdict| match verdict {
            Verdict::Later(cause) => Some(*cause),
            _ => None,
        });
        let mut taken: HashSet<Channel> = HashSet::new();
        let mut again = Vec::new();
        for (at, (queued, verdict)) in batch.into_iter().zip(verdicts).enumerate().rev() {
            match verdict {
                Verdict::Taken(position) => {
                    if cause.is_some() {
                        taken.insert(queued.item.channel.clone());
                    }
                    let confirmed = elsewhere.get(&at).copied().unwrap_or(confirmed);
                    let answer = if confirmed { Ok(position) } else { Err(UNCONFIRMED) };
                    queued.item.answer(position.map_or(Ok(None), |_| answer));
                }
                Verdict::Refused(why) => {
                    if why == UNANSWERED {
                        // It may have been taken.
                        taken.insert(queued.item.channel.clone());
                    }
                    queued.item.answer(Err(why));
                }
                Verdict::Later(_) if taken.contains(&queued.item.channel) => {
                    queued.item.answer(Err(OVERTAKEN));
                }
                Verdict::Later(_) => again.push(queued),
            }
        }
        if !again.is_empty() {
            again.reverse();
            self.context.map.put_back(&self.lane, again);
        }
        cause
    }

    /// Tells the first of Redis' refusals in a row: there may be thousands a second.
    fn tell_refusal(&mut self, batch: &[Queued], verdicts: &[Verdict], answers: &[Value]) {
        let mut each = batch.iter().zip(verdicts.iter().zip(answers));
        let refusal = each.find(|(_, (verdict, _))| {
            // That masters change is told elsewhere.
            !matches!(
                verdict,
                Verdict::Taken(_) | Verdict::Later(Cause::Moved | Cause::Asked | Cause::Split)
            )
        });
        if let (Some((queued, (_, error))), false) = (refusal, self.refused) {
            let channel = &queued.item.channel;
            // Users' channels are not logged.
            let is_own =
                announcement::is_channel(channel.as_str()) || Channel::is_probe(channel.as_str());
            let own = is_own.then(|| self.context.name(channel));
            let error = format_args!("{error:?}");
            telemetry::broker_refused("PUBLISH", &own.unwrap_or_default(), &error);
        }
        self.refused = refusal.is_some();
    }

    async fn pause(&mut self) {
        let pause = AGAIN_PAUSE * 2u32.pow(self.asked_again.min(6));
        self.asked_again += 1;
        sleep(pause.min(AGAIN_PAUSE_MAX)).await;
    }
}

/// Answers what the server would end the connection for, and leaves the others.
fn refuse_too_large(
    limits: &mut Limits,
    context: &Context,
    batch: &mut Vec<Queued>,
    key: Option<&str>,
) {
    let mut excess = None;
    let refused: Vec<_> = batch
        .extract_if(.., |queued| {
            let bytes = limits.excess(queued, context, key);
            excess = bytes.or(excess);
            bytes.is_some()
        })
        .collect();
    refused.into_iter().for_each(|queued| queued.item.answer(Err(TOO_LARGE)));
    if let (Some(bytes), false) = (excess, limits.is_told) {
        limits.is_told = true;
        telemetry::broker_takes_no_more_than(limits.argument_bytes(), bytes);
    }
}

/// Adds the command that publishes.
///
/// `key`: what the header line of a publication that goes past the functions is signed with.
pub fn ask(context: &Context, pipeline: &mut Pipeline, queued: &Queued, key: Option<&str>) {
    let Context { map, node, .. } = context;
    let (channel, publication) = (&queued.item.channel, &queued.item.publication);
    let name = context.name(channel);
    if context.appends(channel.as_str()) {
        let id = publication.id.as_deref().unwrap_or_default();
        let millis = publication.sent_at.map(|micros| (micros / 1000).to_string());
        pipeline
            .cmd("FCALL")
            .arg("tidegate_append")
            .arg(1)
            .arg(name)
            .arg(&publication.payload[..])
            .arg(header::object(publication, *node))
            .arg(id)
            .arg(millis.unwrap_or_default());
    } else {
        if !Channel::is_internal(channel.as_str()) {
            context.routing.published_plainly(channel);
        }
        let command = if map.is_sharded() { "SPUBLISH" } else { "PUBLISH" };
        pipeline.cmd(command).arg(name).arg(header::write(publication, *node, key));
    }
}

/// Does `ROLE` say so? A server that does not answer it, for want of permission, is believed to be
/// what its address promises.
fn is_replica(role: &Value) -> bool {
    let Value::Array(parts) = role else { return false };
    match parts.first() {
        Some(Value::BulkString(role)) => role == b"slave",
        Some(Value::SimpleString(role)) => role == "slave",
        _ => false,
    }
}
