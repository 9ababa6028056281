//! Publishing to one master: what waits in its line goes out as one pipeline over one connection,
//! so that batches grow by themselves under load and publications of a channel keep their order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{Pipeline, Value};
use tokio::time::{Instant, sleep, timeout};

use super::batch::{AboutServer, PublishBatch};
use super::function_installer::FunctionInstaller;
use super::limits::BatchLimits;
use super::master_queue::{BatchMax, QueuedPublication};
use super::outcomes::Outcomes;
use super::publish_outcome::{PublishOutcome, UNANSWERED};
use super::redirects::{BatchAnswers, RedirectedBatch, Redirects};
use super::replicas::{REPLICA_TIMEOUT, Replicas, is_replica};
use crate::backoff::Backoff;
use crate::broker::redis::connection::cause::Cause;
use crate::broker::redis::connection::reconnecting::Reconnecting;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::secret::{self, Secret};
use crate::broker::redis::state::LaneComponent;
use crate::broker::unavailable::Unavailable;
use crate::telemetry;

/// What goes out in one pipeline. The crate's connection keeps a buffer as large as the largest.
const BATCH: BatchMax = BatchMax { publications: 512, bytes: 256 << 10 };

/// The least time Redis is given, also for a batch whose deadline is nearly over: a connection just
/// made again must not be given up for publications that waited for it.
const ANSWER_TIME_MIN: Duration = Duration::from_millis(200);

/// How often the server is asked whether it is a master still.
const ROLE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a new connection may take to be made ready for publishing.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(2);

/// Before what Redis could not do yet goes out again.
const AGAIN_PAUSE: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(200));

const LACKING: Unavailable = Unavailable("redis lacks the functions that history needs");

const REPLICA: &str = "it is a replica";

/// Publishes what stands in the lane's line, for ever.
pub async fn run(lane: Arc<Lane>, context: Arc<RedisContext>) {
    let mut publisher = RedisPublisher::new(lane.clone(), context);
    let mut reconnecting = Reconnecting::default();
    loop {
        let connected = tokio::select! {
            connected = publisher.connect() => connected,
            never = lane.line.expire() => match never {},
        };
        let why = match connected {
            Ok(connection) => {
                reconnecting.connected();
                lane.state.works(LaneComponent::Publisher);
                lane.line.set_stuck(None);
                let PublisherLost { asked, why } = publisher.publish(connection).await;
                lane.line.set_stuck(Some(asked));
                why
            }
            Err(why) => why,
        };
        lane.state.fails(LaneComponent::Publisher, &why);
        lane.request_refresh();
        tokio::select! {
            () = sleep(reconnecting.next_pause()) => telemetry::broker_reconnecting(),
            never = lane.line.expire() => match never {},
        }
    }
}

/// The connection broke, or Redis hangs or is no master.
struct PublisherLost {
    asked: Instant,
    why: String,
}

struct RedisPublisher {
    lane: Arc<Lane>,
    context: Arc<RedisContext>,
    /// Counts the batches in a row that had something that goes out again.
    again: Backoff,
    /// When the server was last asked what it is.
    role_asked: Instant,
    replicas: Replicas,
    limits: BatchLimits,
    upkeep: FunctionInstaller,
    detour: Redirects,
    outcomes: Outcomes,
}

/// Publications that Redis has been handed and has not answered. Whoever gives up waiting, even by
/// being dropped, tells them so.
struct UnansweredBatch(Vec<QueuedPublication>);

impl Drop for UnansweredBatch {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|queued| queued.item.answer(Err(UNANSWERED)));
    }
}

impl RedisPublisher {
    fn new(lane: Arc<Lane>, context: Arc<RedisContext>) -> Self {
        Self {
            again: AGAIN_PAUSE,
            role_asked: Instant::now(),
            replicas: Replicas::default(),
            limits: BatchLimits::default(),
            upkeep: FunctionInstaller::new(lane.clone(), context.clone()),
            detour: Redirects::default(),
            outcomes: Outcomes::new(lane.clone(), context.clone()),
            lane,
            context,
        }
    }

    /// A connection to a server that is a master and has the functions.
    async fn connect(&mut self) -> Result<MultiplexedConnection, String> {
        let mut connection = self.lane.link.open().await.map_err(|error| error.to_string())?;
        match timeout(PREPARE_TIMEOUT, self.prepare(&mut connection)).await {
            Ok(prepared) => prepared.map(|()| connection),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    async fn prepare(&mut self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        let mut role = Pipeline::new();
        role.cmd("ROLE");
        self.limits = BatchLimits::default();
        self.limits.ask(&mut role);
        let answers = connection.req_packed_commands(&role, 0, role.len()).await;
        let answers = answers.map_err(|error| error.to_string())?;
        if answers.first().is_some_and(is_replica) {
            return Err(REPLICA.to_owned());
        }
        self.replicas = Replicas::of(answers.first());
        self.limits.learn(answers.get(1..).unwrap_or_default());
        // Without them channels without history work all the same.
        let _ = self.upkeep.install(connection).await;
        let answer = secret::question().query_async(connection).await;
        self.upkeep.learn_secret(answer.as_ref().unwrap_or(&Value::Nil));
        self.role_asked = Instant::now();
        Ok(())
    }

    async fn publish(&mut self, mut connection: MultiplexedConnection) -> PublisherLost {
        let lane = self.lane.clone();
        loop {
            lane.line.news().await;
            // Whoever turns to other rules waits for what goes out by those from before.
            let _flight = lane.flight.lock().await;
            if let Err(lost) = self.publish_next(&mut connection).await {
                return lost;
            }
        }
    }

    /// Publishes what is next in line, as much as goes out at once.
    async fn publish_next(
        &mut self,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), PublisherLost> {
        let mut flight = UnansweredBatch(self.lane.take(BATCH));
        let secret = self.lane.secret.current();
        let key = (*secret).as_ref().or(self.context.secrets.configured()).map(Secret::as_str);
        self.limits.refuse_too_large(&mut flight.0, &self.context, key);
        let Some(oldest) = flight.0.first() else { return Ok(()) };
        let asked = Instant::now();
        let deadline = oldest.item.deadline.max(asked + ANSWER_TIME_MIN + REPLICA_TIMEOUT);
        let lost = |why| PublisherLost { asked, why };
        let batch = self.batch(&flight.0, key, asked);
        let answers = batch.ask(connection, deadline).await.map_err(lost)?;
        let about = batch.about_server(&answers);
        if about.as_ref().and_then(|about| about.role).is_some_and(is_replica) {
            // What it took reached nobody but its own subscribers.
            self.lane.demoted.notify_waiters();
            return Err(lost(REPLICA.to_owned()));
        }
        let confirmed = batch.is_confirmed(&answers).is_none_or(|it| self.replicas.waited(it));
        let is_lacking = about.is_some_and(|about| self.learn(&about, asked));
        let answered = self.judge(connection, &flight.0, answers, deadline).await;
        let batch = std::mem::take(&mut flight.0);
        let cause = self.outcomes.tell(batch, answered, confirmed);
        self.go_on(connection, cause, is_lacking).await.map_err(lost)
    }

    /// The pipeline for these publications.
    fn batch(
        &self,
        publications: &[QueuedPublication],
        key: Option<&str>,
        now: Instant,
    ) -> PublishBatch {
        let mut batch = PublishBatch::new(&self.context, publications, key);
        if self.replicas.are_waited_for() && self.appends(publications) {
            batch.wait_for_replica();
        }
        if self.role_asked + ROLE_INTERVAL <= now {
            batch.ask_role(&self.limits);
        }
        batch
    }

    /// Is any of them appended to a history?
    fn appends(&self, batch: &[QueuedPublication]) -> bool {
        batch.iter().any(|queued| self.context.appends(queued.item.channel.as_str()))
    }

    /// Notes what the server says of itself. True: it lacks the functions, and may be asked to take them.
    fn learn(&mut self, about: &AboutServer<'_>, asked: Instant) -> bool {
        self.role_asked = asked;
        self.replicas.counted(about.role);
        self.limits.learn(about.limits);
        self.upkeep.learn_secret(about.secret.unwrap_or(&Value::Nil))
    }

    /// What the answers mean; of slots that move, those of the masters that they move to.
    async fn judge(
        &mut self,
        connection: &mut MultiplexedConnection,
        batch: &[QueuedPublication],
        answers: Vec<Value>,
        deadline: Instant,
    ) -> BatchAnswers {
        let lacks = self.upkeep.is_refused();
        let verdict = |answer| match PublishOutcome::of(answer) {
            PublishOutcome::Later(Cause::NoFunction) if lacks => PublishOutcome::Refused(LACKING),
            verdict => verdict,
        };
        let verdicts: Vec<_> = answers.iter().map(verdict).collect();
        let mut answered = BatchAnswers { answers, verdicts, elsewhere: HashMap::new() };
        let moves = |(at, _): &(usize, &QueuedPublication)| {
            matches!(
                answered.verdicts.get(*at),
                Some(PublishOutcome::Later(Cause::Asked | Cause::Split))
            )
        };
        let mut moving = batch.iter().enumerate().filter(moves).peekable();
        if moving.peek().is_some() {
            if moving.any(|(_, queued)| self.context.map.importing(queued.slot).is_none()) {
                self.lane.request_refresh();
            }
            let trip =
                RedirectedBatch { context: &self.context, lane: &self.lane, batch, deadline };
            self.detour.take(&trip, connection, &mut answered).await;
        }
        answered
    }

    /// Mends what can be mended, and pauses where something is to go out again. Err: the connection is lost, and why.
    async fn go_on(
        &mut self,
        connection: &mut MultiplexedConnection,
        cause: Option<Cause>,
        is_lacking: bool,
    ) -> Result<(), String> {
        match cause {
            None if is_lacking => return self.upkeep.mend(connection).await,
            None => {
                self.again.reset();
                return Ok(());
            }
            Some(Cause::NoFunction) => self.upkeep.mend(connection).await?,
            Some(Cause::Moved) => self.lane.request_refresh(),
            Some(Cause::Asked | Cause::Split | Cause::Busy) => {}
        }
        sleep(self.again.next_pause()).await;
        Ok(())
    }
}
