//! All that speaks to one master: what waits for it, the publisher's and the subscriber's
//! connection, and a pool for questions. Its address never changes; a master elsewhere is another
//! lane.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, Pipeline, RedisError, Value};
use tokio::sync::{Notify, watch};

use super::slot_owners::{NO_LANE, SlotOwners};
use super::slot_queues::SlotQueues;
use crate::broker::redis::connection::cause::Cause;
use crate::broker::redis::connection::link::Link;
use crate::broker::redis::connection::pool::{Pool, QuestionError, bounded};
use crate::broker::redis::connection::server::{RedisServer, ServerAddress};
use crate::broker::redis::functions::library::{Found, Library};
use crate::broker::redis::publishing::master_queue::{BatchMax, QueuedPublication};
use crate::broker::redis::rules::bypassed_history::BypassedHistory;
use crate::broker::redis::rules::rule_changes::RuleChanges;
use crate::broker::redis::secret::{Secret, Secrets};
use crate::broker::redis::state::{BrokerState, LaneState};
use crate::broker::redis::subscribing::subscription_counts::SubscriptionCounts;
use crate::live::Live;

/// What lanes share of the broker.
pub struct LaneShared<'a> {
    pub takers: &'a Arc<SlotOwners>,
    pub tally: &'a Arc<SubscriptionCounts>,
    pub state: &'a Arc<BrokerState>,
    /// As [`Lane::doubt`] notifies it.
    pub doubt: &'a Arc<Notify>,
}

/// One master's lane.
pub struct Lane {
    /// Counts up; no two lanes of a process share it.
    pub number: u32,
    pub address: ServerAddress,
    pub place: Arc<SlotQueues>,
    takers: Arc<SlotOwners>,
    pub server: RedisServer,
    pub link: Link,
    pub state: LaneState,
    /// What the server's functions sign with. None: it is not known.
    pub secret: Live<Option<Secret>>,
    /// The server is no master: the subscribed connection is worth nothing either.
    pub demoted: Notify,
    /// Held while publications are with Redis.
    pub flight: tokio::sync::Mutex<()>,
    /// Its rules turned to others.
    pub turns: RuleChanges,
    pool: Pool,
    retired: watch::Sender<bool>,
    /// Somebody should look which servers are masters.
    doubt: Arc<Notify>,
}

impl Deref for Lane {
    type Target = SlotQueues;

    fn deref(&self) -> &SlotQueues {
        &self.place
    }
}

impl Lane {
    /// `timeout`: how long publications and subscriptions may wait.
    pub fn new(server: RedisServer, timeout: Duration, shared: LaneShared<'_>) -> Arc<Self> {
        static NUMBERS: AtomicU32 = AtomicU32::new(NO_LANE + 1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let link = Link::new(&server);
        let address = server.address.clone();
        Arc::new(Self {
            number,
            state: shared.state.add(number, address.clone()),
            address,
            place: Arc::new(SlotQueues::new(timeout, shared.tally.clone())),
            takers: shared.takers.clone(),
            server,
            pool: Pool::new(&link),
            link,
            secret: Live::default(),
            demoted: Notify::new(),
            flight: tokio::sync::Mutex::default(),
            turns: RuleChanges::default(),
            retired: watch::Sender::new(false),
            doubt: shared.doubt.clone(),
        })
    }

    /// Runs a task of the lane until it is retired.
    pub async fn until_retired(self: Arc<Self>, task: impl Future<Output = ()>) {
        let mut retired = self.retired.subscribe();
        tokio::select! {
            () = task => {}
            // Its sender is this lane.
            _ = retired.wait_for(|retired| *retired) => {}
        }
    }

    /// Takes the publications that are next.
    pub fn take(&self, most: BatchMax) -> Vec<QueuedPublication> {
        self.line.take(most, |slot| self.takers.took(slot, self.number))
    }

    /// Ends it: its connections are closed. What waited for it has been taken over.
    pub fn retire(&self) {
        self.state.remove();
        self.retired.send_replace(true);
    }

    /// Asks for a look at which servers are masters.
    pub fn request_refresh(&self) {
        self.doubt.notify_one();
    }

    /// Notes what the server answered when it was asked for its secret. False: it is none.
    pub fn learn(&self, secrets: &Secrets, answer: &[u8]) -> bool {
        let Some(secret) = secrets.learn(answer) else { return false };
        if self.secret.get().as_ref() != &Some(secret.clone()) {
            self.secret.replace(Some(secret));
        }
        true
    }

    /// Asks one question.
    pub async fn query<T: FromRedisValue>(&self, question: &Cmd) -> Result<T, QuestionError> {
        let answer = self.pool.query(question).await;
        if let Err(QuestionError::Redis(error)) = &answer
            && is_moved(error)
        {
            self.request_refresh();
        }
        answer
    }

    /// Asks for keys of a slot that is on its way here: each question for its own. They declare one key each.
    pub async fn query_asking(
        &self,
        questions: &[Cmd],
    ) -> Result<Vec<Result<Value, RedisError>>, QuestionError> {
        let mut pipeline = Pipeline::with_capacity(2 * questions.len());
        for question in questions {
            pipeline.cmd("ASKING").add_command(question.clone());
        }
        let mut answers = self.query_each(&pipeline).await?.into_iter();
        let mut each = Vec::with_capacity(questions.len());
        while let (Some(asking), Some(answer)) = (answers.next(), answers.next()) {
            each.push(asking.and(answer));
        }
        Ok(each)
    }

    /// Installs the functions where they are missing, or only reads them, as [`Library`] does.
    pub async fn install(
        &self,
        library: &Library,
        past: &BypassedHistory,
        only_reads: bool,
    ) -> Result<Found, QuestionError> {
        bounded(async {
            let mut connection = self.pool.get().await?;
            Ok(match only_reads {
                true => library.read(&mut connection).await?,
                false => library.install(&mut connection, past).await?,
            })
        })
        .await
    }

    /// Asks several questions in one go; each has its own answer.
    pub async fn query_each(
        &self,
        questions: &Pipeline,
    ) -> Result<Vec<Result<Value, RedisError>>, QuestionError> {
        let answers = self.pool.query_each(questions).await?;
        let answers: Vec<_> = answers.into_iter().map(Value::extract_error).collect();
        if answers.iter().any(|answer| answer.as_ref().is_err_and(is_moved)) {
            self.request_refresh();
        }
        Ok(answers)
    }
}

fn is_moved(error: &RedisError) -> bool {
    Cause::of_error(error) == Some(Cause::Moved)
}
