//! Publishes to one master. Queued publications are sent as one pipeline over one connection, so
//! batches grow under load and the publications of a channel keep their order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{Pipeline, Value};
use tokio::time::{Instant, sleep, timeout};

use super::batch::{PublishBatch, ServerInfo};
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

/// Maximum size of a pipeline. The crate's connection keeps a buffer as large as its largest one.
const BATCH: BatchMax = BatchMax { publications: 512, bytes: 256 << 10 };

/// The minimum time for a reply, also for a batch close to its deadline: a new connection must not
/// be closed for publications that waited for it.
const ANSWER_TIME_MIN: Duration = Duration::from_millis(200);

/// How often the node checks that the server is still a master.
const ROLE_INTERVAL: Duration = Duration::from_secs(1);

/// How long preparing a new connection may take.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause before a retry.
const RETRY_PAUSE: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(200));

const NO_FUNCTIONS: Unavailable = Unavailable("redis lacks the functions that history needs");

const REPLICA: &str = "it is a replica";

/// Publishes from the lane's queue, without end.
pub async fn run(lane: Arc<Lane>, context: Arc<RedisContext>) {
    let mut publisher = RedisPublisher::new(lane.clone(), context);
    let mut reconnecting = Reconnecting::default();
    loop {
        let connected = tokio::select! {
            connected = publisher.connect() => connected,
            never = lane.publications.expire() => match never {},
        };
        let why = match connected {
            Ok(connection) => {
                reconnecting.connected();
                lane.state.works(LaneComponent::Publisher);
                lane.publications.set_stuck(None);
                let PublisherLost { sent_at, why } = publisher.publish(connection).await;
                lane.publications.set_stuck(Some(sent_at));
                why
            }
            Err(why) => why,
        };
        lane.state.fails(LaneComponent::Publisher, &why);
        lane.request_refresh();
        tokio::select! {
            () = sleep(reconnecting.next_pause()) => telemetry::broker_reconnecting(),
            never = lane.publications.expire() => match never {},
        }
    }
}

/// The connection broke, Redis does not reply, or it is no longer a master.
struct PublisherLost {
    sent_at: Instant,
    why: String,
}

struct RedisPublisher {
    lane: Arc<Lane>,
    context: Arc<RedisContext>,
    /// Backoff that grows with consecutive batches that had to be retried.
    retry: Backoff,
    /// When the server was last asked for its role.
    role_queried_at: Instant,
    replicas: Replicas,
    limits: BatchLimits,
    installer: FunctionInstaller,
    redirects: Redirects,
    outcomes: Outcomes,
}

/// Publications that were sent to Redis and have no reply yet. Dropping them, also by cancellation,
/// fails them as unanswered.
struct UnansweredBatch(Vec<QueuedPublication>);

impl Drop for UnansweredBatch {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|queued| queued.request.reply(Err(UNANSWERED)));
    }
}

impl RedisPublisher {
    fn new(lane: Arc<Lane>, context: Arc<RedisContext>) -> Self {
        Self {
            retry: RETRY_PAUSE,
            role_queried_at: Instant::now(),
            replicas: Replicas::default(),
            limits: BatchLimits::default(),
            installer: FunctionInstaller::new(lane.clone(), context.clone()),
            redirects: Redirects::default(),
            outcomes: Outcomes::new(lane.clone(), context.clone()),
            lane,
            context,
        }
    }

    /// Connects to a server that is a master, and installs the functions.
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
        self.limits.add_queries(&mut role);
        let answers = connection.req_packed_commands(&role, 0, role.len()).await;
        let answers = answers.map_err(|error| error.to_string())?;
        if answers.first().is_some_and(is_replica) {
            return Err(REPLICA.to_owned());
        }
        self.replicas = Replicas::of(answers.first());
        self.limits.learn(answers.get(1..).unwrap_or_default());
        // Without the functions, channels without history still work.
        let _ = self.installer.install(connection).await;
        let answer = secret::get_command().query_async(connection).await;
        self.installer.learn_secret(answer.as_ref().unwrap_or(&Value::Nil));
        self.role_queried_at = Instant::now();
        Ok(())
    }

    async fn publish(&mut self, mut connection: MultiplexedConnection) -> PublisherLost {
        let lane = self.lane.clone();
        loop {
            lane.publications.wait_for_publication().await;
            // A change of rules waits for publications that were sent under the old ones.
            let _in_flight = lane.in_flight.lock().await;
            lane.in_flight.begin(self.context.routing.plain_publishes.begin());
            if let Err(lost) = self.publish_next(&mut connection).await {
                return lost;
            }
            lane.in_flight.answered();
        }
    }

    /// Publishes the next batch.
    async fn publish_next(
        &mut self,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), PublisherLost> {
        let mut unanswered = UnansweredBatch(self.lane.take(BATCH));
        let secret = self.lane.secret.current();
        let key = (*secret).as_ref().or(self.context.secrets.configured()).map(Secret::as_str);
        self.limits.refuse_too_large(&mut unanswered.0, &self.context, key);
        let Some(oldest) = unanswered.0.first() else { return Ok(()) };
        let sent_at = Instant::now();
        let deadline = oldest.request.deadline.max(sent_at + ANSWER_TIME_MIN + REPLICA_TIMEOUT);
        let lost = |why| PublisherLost { sent_at, why };
        let batch = self.batch(&unanswered.0, key, sent_at);
        let answers = batch.send(connection, deadline).await.map_err(lost)?;
        let info = batch.server_info(&answers);
        if info.as_ref().and_then(|info| info.role).is_some_and(is_replica) {
            // What a demoted master took reached only its own subscribers.
            self.lane.demoted.notify_waiters();
            return Err(lost(REPLICA.to_owned()));
        }
        let confirmed = batch.is_confirmed(&answers).is_none_or(|it| self.replicas.record_wait(it));
        let lacks_functions = info.is_some_and(|info| self.learn(&info, sent_at));
        let answered = self.outcomes_of(connection, &unanswered.0, answers, deadline).await;
        let batch = std::mem::take(&mut unanswered.0);
        let cause = self.outcomes.reply(batch, answered, confirmed);
        self.recover(connection, cause, lacks_functions).await.map_err(lost)
    }

    /// The pipeline for these publications.
    fn batch(
        &self,
        publications: &[QueuedPublication],
        key: Option<&str>,
        now: Instant,
    ) -> PublishBatch {
        let mut batch = PublishBatch::new(&self.context, publications, key);
        if self.replicas.should_wait() && self.appends(publications) {
            batch.wait_for_replica();
        }
        if self.role_queried_at + ROLE_INTERVAL <= now {
            batch.add_role(&self.limits);
        }
        batch
    }

    /// Whether any of them is appended to a history.
    fn appends(&self, batch: &[QueuedPublication]) -> bool {
        batch.iter().any(|queued| self.context.appends(queued.request.channel.as_str()))
    }

    /// Records the replies about the server. True: it lacks the functions and may be offered them.
    fn learn(&mut self, info: &ServerInfo<'_>, sent_at: Instant) -> bool {
        self.role_queried_at = sent_at;
        self.replicas.update(info.role);
        self.limits.learn(info.limits);
        self.installer.learn_secret(info.secret.unwrap_or(&Value::Nil))
    }

    /// The outcomes of the batch; for moving slots, those at the masters that they move to.
    async fn outcomes_of(
        &mut self,
        connection: &mut MultiplexedConnection,
        batch: &[QueuedPublication],
        answers: Vec<Value>,
        deadline: Instant,
    ) -> BatchAnswers {
        let is_refused = self.installer.is_refused();
        let outcome = |answer| match PublishOutcome::of(answer) {
            PublishOutcome::Retry(Cause::NoFunction) if is_refused => {
                PublishOutcome::Refused(NO_FUNCTIONS)
            }
            outcome => outcome,
        };
        let outcomes: Vec<_> = answers.iter().map(outcome).collect();
        let mut answered = BatchAnswers { answers, outcomes, redirected: HashMap::new() };
        let moves = |(at, _): &(usize, &QueuedPublication)| {
            matches!(
                answered.outcomes.get(*at),
                Some(PublishOutcome::Retry(Cause::Ask | Cause::TryAgain))
            )
        };
        let mut moving = batch.iter().enumerate().filter(moves).peekable();
        if moving.peek().is_some() {
            if moving.any(|(_, queued)| self.context.map.importing(queued.slot).is_none()) {
                self.lane.request_refresh();
            }
            let redirected =
                RedirectedBatch { context: &self.context, lane: &self.lane, batch, deadline };
            self.redirects.follow(&redirected, connection, &mut answered).await;
        }
        answered
    }

    /// Does what the cause of a retry requires, then pauses. `Err`: why the connection is lost.
    async fn recover(
        &mut self,
        connection: &mut MultiplexedConnection,
        cause: Option<Cause>,
        lacks_functions: bool,
    ) -> Result<(), String> {
        match cause {
            None if lacks_functions => return self.installer.reinstall(connection).await,
            None => {
                self.retry.reset();
                return Ok(());
            }
            Some(Cause::NoFunction) => self.installer.reinstall(connection).await?,
            Some(Cause::Moved) => self.lane.request_refresh(),
            Some(Cause::Ask | Cause::TryAgain | Cause::Busy) => {}
        }
        sleep(self.retry.next_pause()).await;
        Ok(())
    }
}
