//! Everything that talks to one master: its queues, the connections of the publisher and the
//! subscriber, and a pool for other commands. The address never changes; another master is another
//! lane.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, Pipeline, RedisError, Value};
use tokio::sync::{Notify, watch};

use super::slot_owners::{NO_LANE, SlotOwners};
use super::slot_queues::SlotQueues;
use super::unanswered_batches::UnansweredBatches;
use crate::broker::redis::connection::cause::Cause;
use crate::broker::redis::connection::link::Link;
use crate::broker::redis::connection::pool::{Pool, QueryError, bounded};
use crate::broker::redis::connection::server::{RedisServer, ServerAddress};
use crate::broker::redis::functions::library::{Found, Library};
use crate::broker::redis::publishing::master_queue::{BatchMax, QueuedPublication};
use crate::broker::redis::rules::bypassed_history::BypassedHistory;
use crate::broker::redis::rules::rule_changes::RuleChanges;
use crate::broker::redis::secret::{Secret, Secrets};
use crate::broker::redis::state::{BrokerState, LaneState};
use crate::broker::redis::subscribing::subscription_counts::SubscriptionCounts;
use crate::live::Live;

/// What lanes share with the broker.
pub struct LaneShared<'a> {
    pub slot_owners: &'a Arc<SlotOwners>,
    pub counts: &'a Arc<SubscriptionCounts>,
    pub state: &'a Arc<BrokerState>,
    /// Notified by [`Lane::request_refresh`].
    pub topology_refresh: &'a Arc<Notify>,
}

/// One master's lane.
pub struct Lane {
    /// Counts up; unique within the process.
    pub number: u32,
    pub address: ServerAddress,
    pub queues: Arc<SlotQueues>,
    slot_owners: Arc<SlotOwners>,
    pub server: RedisServer,
    pub link: Link,
    pub state: LaneState,
    /// The secret of the server's functions. `None`: not known.
    pub secret: Live<Option<Secret>>,
    /// Notified when the server is no longer a master, so the subscribed connection has to end too.
    pub demoted: Notify,
    pub in_flight: UnansweredBatches,
    /// Pending changes of the master's rules.
    pub rule_changes: RuleChanges,
    pool: Pool,
    retired: watch::Sender<bool>,
    /// Notified when the topology should be refreshed.
    topology_refresh: Arc<Notify>,
}

impl Deref for Lane {
    type Target = SlotQueues;

    fn deref(&self) -> &SlotQueues {
        &self.queues
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
            queues: Arc::new(SlotQueues::new(timeout, shared.counts.clone())),
            slot_owners: shared.slot_owners.clone(),
            server,
            pool: Pool::new(&link),
            link,
            secret: Live::default(),
            demoted: Notify::new(),
            in_flight: UnansweredBatches::default(),
            rule_changes: RuleChanges::default(),
            retired: watch::Sender::new(false),
            topology_refresh: shared.topology_refresh.clone(),
        })
    }

    /// Runs a task of the lane until the lane is retired.
    pub async fn until_retired(self: Arc<Self>, task: impl Future<Output = ()>) {
        let mut retired = self.retired.subscribe();
        tokio::select! {
            () = task => {}
            // Never an error: this lane holds the sender.
            _ = retired.wait_for(|retired| *retired) => {}
        }
    }

    /// Takes the next publications from the queue.
    pub fn take(&self, max: BatchMax) -> Vec<QueuedPublication> {
        self.publications.take(max, |slot| self.slot_owners.record_take(slot, self.number))
    }

    /// Closes the lane's connections. Its queues have been moved to other lanes.
    pub fn retire(&self) {
        self.state.remove();
        self.retired.send_replace(true);
    }

    /// Requests a refresh of the topology.
    pub fn request_refresh(&self) {
        self.topology_refresh.notify_one();
    }

    /// Records the reply to [`secret::get_command`](crate::broker::redis::secret::get_command).
    /// False: it is no secret.
    pub fn learn_secret(&self, secrets: &Secrets, answer: &[u8]) -> bool {
        let Some(secret) = secrets.learn(answer) else { return false };
        if self.secret.get().as_ref() != &Some(secret.clone()) {
            self.secret.replace(Some(secret));
        }
        true
    }

    /// Sends one command.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, QueryError> {
        let answer = self.pool.query(command).await;
        if let Err(QueryError::Redis(error)) = &answer
            && is_moved(error)
        {
            self.request_refresh();
        }
        answer
    }

    /// Sends commands for keys of a slot that moves to this master, each preceded by `ASKING`. Each
    /// command declares one key.
    pub async fn query_asking(
        &self,
        commands: &[Cmd],
    ) -> Result<Vec<Result<Value, RedisError>>, QueryError> {
        let mut pipeline = Pipeline::with_capacity(2 * commands.len());
        for command in commands {
            pipeline.cmd("ASKING").add_command(command.clone());
        }
        let mut answers = self.query_each(&pipeline).await?.into_iter();
        let mut each = Vec::with_capacity(commands.len());
        while let (Some(asking), Some(answer)) = (answers.next(), answers.next()) {
            each.push(asking.and(answer));
        }
        Ok(each)
    }

    /// Installs the functions where they are missing, or only reads them, as [`Library`] does.
    pub async fn install(
        &self,
        library: &Library,
        bypassed: &BypassedHistory,
        only_reads: bool,
    ) -> Result<Found, QueryError> {
        bounded(async {
            let mut connection = self.pool.get().await?;
            Ok(match only_reads {
                true => library.read(&mut connection).await?,
                false => library.install(&mut connection, bypassed).await?,
            })
        })
        .await
    }

    /// Sends several commands in one pipeline; each has its own reply.
    pub async fn query_each(
        &self,
        commands: &Pipeline,
    ) -> Result<Vec<Result<Value, RedisError>>, QueryError> {
        let answers = self.pool.query_each(commands).await?;
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
