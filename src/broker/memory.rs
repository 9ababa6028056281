//! The memory broker: one node by itself. It is the default and meets the same contract as Redis.

mod history;
mod presence;
mod runs;
mod stream_table;
mod streams;

use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval};

use self::history::{Appended, Histories, locked};
use self::runs::MemoryRuns;
use self::stream_table::StreamTable;
use super::queue::{LATE, PublishQueue, PublishRequest};
use crate::broker::announcement::{Announcement, Announcing};
use crate::broker::config::Config;
use crate::broker::contract::{Broker, Page};
use crate::broker::event::{BrokerEvent, Sink};
use crate::broker::event_log::{EventLog, EventLogConfig};
use crate::broker::presence::{Attendance, MembershipState, Presences, Renewal};
use crate::broker::receipt::Receipt;
use crate::broker::revocation::{Revocation, Revoking};
use crate::broker::run::{HistoryEnd, RunState, Runs};
use crate::broker::streams::{CommitOutcome, StoredStream, StreamCommit, StreamStore};
use crate::broker::unavailable::{NO_RUN, Unavailable};
use crate::publication::{Channel, EndReason, Members, Position, Publication};
use crate::rules::{Pattern, Rules};
use crate::{critical_tasks, telemetry};

/// Maximum number of publications relayed before the task yields.
const BATCH_MAX: usize = 64;

/// How often expired histories are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Memory broker. One task relays all publications, so every subscriber receives them in the same
/// order.
pub struct MemoryBroker {
    queue: PublishQueue,
    rules: Rules,
    histories: Arc<Mutex<Histories>>,
    presence: presence::MemberTable,
    runs: MemoryRuns,
    sink: Sink,
}

struct Relay {
    sink: Sink,
    rules: Rules,
    histories: Arc<Mutex<Histories>>,
    idempotency_window: Duration,
    runs: MemoryRuns,
}

impl MemoryBroker {
    pub fn start(config: &Config, sink: Sink) -> Self {
        let (queue, requests) = PublishQueue::new(config.publish_timeout);
        let histories: Arc<Mutex<Histories>> = Arc::default();
        let presence = presence::MemberTable::new(sink.clone());
        let runs = MemoryRuns {
            histories: histories.clone(),
            streams: Arc::new(StreamTable::default()),
            rules: config.rules.clone(),
            sink: sink.clone(),
            idempotency_window: config.idempotency_window,
            order: Arc::default(),
        };
        let relay = Relay {
            sink: sink.clone(),
            rules: config.rules.clone(),
            histories: histories.clone(),
            idempotency_window: config.idempotency_window,
            runs: runs.clone(),
        };
        critical_tasks::spawn("memory broker", relay.run(requests));
        telemetry::broker_connected();
        Self { queue, rules: config.rules.clone(), histories, presence, runs, sink }
    }
}

impl Relay {
    /// Relays until the queue is closed.
    async fn run(self, mut requests: mpsc::Receiver<PublishRequest>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut sweep = interval(SWEEP_INTERVAL);
        loop {
            tokio::select! {
                count = requests.recv_many(&mut batch, BATCH_MAX) => {
                    if count == 0 {
                        return;
                    }
                    let mut remaining = batch.len();
                    for request in batch.drain(..) {
                        remaining -= 1;
                        self.publish(request, remaining > 0);
                    }
                    tokio::task::yield_now().await;
                }
                _ = sweep.tick() => {
                    locked(&self.histories).sweep(Instant::now());
                    self.runs.streams.sweep(Instant::now());
                }
            }
        }
    }

    fn publish(&self, request: PublishRequest, more: bool) {
        if request.is_late() {
            request.reply(Err(LATE));
            return;
        }
        let channel = request.channel.as_str();
        let mut publication = request.publication.clone();
        if let Some(rule) = self.runs.rule(&request.channel) {
            let answer = self.runs.publish(&request.channel, rule, publication);
            request.reply(answer);
            return;
        }
        if publication.end.is_some() {
            request.reply(Err(NO_RUN));
            return;
        }
        // The rule is looked up under the lock, so that no history starts again that `follow_rules`
        // has just removed.
        let mut histories = locked(&self.histories);
        if let Some(limits) = self.rules.of(channel).history {
            let (window, now) = (self.idempotency_window, Instant::now());
            match histories.append(&request.channel, publication, limits, window, now) {
                Appended::New(appended) => publication = appended,
                Appended::Duplicate(position) => {
                    drop(histories);
                    request.reply(Ok(Some(position)));
                    return;
                }
            }
        }
        drop(histories);
        let position = publication.position;
        (self.sink)(BrokerEvent::Publication { channel, publication, more });
        request.reply(Ok(position));
    }
}

impl Broker for MemoryBroker {
    fn publish(&self, channel: Channel, publication: Publication) -> Receipt<Option<Position>> {
        self.queue.push(channel, publication)
    }

    fn has_capacity(&self) -> bool {
        self.queue.has_capacity()
    }

    fn wait_for_capacity(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.queue.wait_for_capacity())
    }

    fn subscribe(&self, _: &Channel) -> Receipt<()> {
        Receipt::ready(Ok(()))
    }

    fn unsubscribe(&self, _: &Channel) {}

    /// The only node has all publications.
    fn follow_patterns(&self, _: Vec<Pattern>) -> BoxFuture<'static, Result<(), Unavailable>> {
        Box::pin(ready(Ok(())))
    }

    /// The relay looks up the rule of each publication; only histories that are no longer kept are
    /// removed here.
    fn follow_rules(&self, rules: &Rules) -> BoxFuture<'_, ()> {
        locked(&self.histories).retain_kept_by(rules);
        Box::pin(ready(()))
    }

    fn kind(&self) -> &'static str {
        "memory"
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    /// A single node has no stream for the backend; `events.stream` is a fault then.
    fn event_log(&self, _: EventLogConfig) -> Option<Box<dyn EventLog>> {
        None
    }

    fn nodes(&self, channels: Vec<Channel>) -> BoxFuture<'_, Result<Vec<u64>, Unavailable>> {
        Box::pin(ready(Ok(vec![1; channels.len()])))
    }

    fn channels(&self, _: &str) -> BoxFuture<'_, Result<Option<Vec<Channel>>, Unavailable>> {
        Box::pin(ready(Ok(None)))
    }

    fn positions(
        &self,
        channels: Vec<Channel>,
    ) -> BoxFuture<'_, Vec<Result<Option<HistoryEnd>, Unavailable>>> {
        let end = |channel: &Channel| {
            self.runs.check(channel);
            // The rule is looked up under the lock, as in `publish`.
            let mut histories = locked(&self.histories);
            let limits = self.rules.of(channel.as_str()).history?;
            Some(histories.end(channel, limits, Instant::now()))
        };
        let ends = channels.iter().map(end).map(Ok).collect();
        Box::pin(ready(ends))
    }

    fn history(
        &self,
        channel: Channel,
        page: Page,
        count: usize,
    ) -> BoxFuture<'_, Result<Vec<Publication>, Unavailable>> {
        let page = locked(&self.histories).page(&channel, page, count, Instant::now());
        Box::pin(ready(Ok(page)))
    }
}

impl Runs for MemoryBroker {
    fn end(
        &self,
        channel: Channel,
        reason: EndReason,
        last: Publication,
    ) -> Receipt<Option<Position>> {
        self.queue.push(channel, Publication { end: Some(reason), ..last })
    }

    fn renew(&self, channel: Channel) -> BoxFuture<'_, Result<Duration, Unavailable>> {
        Box::pin(ready(self.runs.renew(&channel)))
    }

    fn check_runs(
        &self,
        channels: Vec<Channel>,
    ) -> BoxFuture<'_, Vec<Result<RunState, Unavailable>>> {
        let states = channels.iter().map(|channel| Ok(self.runs.check(channel)));
        Box::pin(ready(states.collect()))
    }
}

impl StreamStore for MemoryBroker {
    fn stream(
        &self,
        channel: Channel,
        fields: Vec<String>,
    ) -> BoxFuture<'_, Result<StoredStream, Unavailable>> {
        Box::pin(ready(self.runs.stream(&channel, &fields)))
    }

    fn renew_stream(&self, channel: Channel) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(ready(self.runs.use_stream(&channel)))
    }

    fn commit_stream(
        &self,
        channel: Channel,
        commit: StreamCommit,
    ) -> BoxFuture<'_, Result<CommitOutcome, Unavailable>> {
        Box::pin(ready(self.runs.commit(&channel, commit)))
    }
}

impl Presences for MemoryBroker {
    fn write_members<'a>(
        &'a self,
        _: Duration,
        attendances: &'a [Attendance],
    ) -> BoxFuture<'a, Vec<Result<MembershipState, Unavailable>>> {
        attendances.iter().for_each(|attendance| self.presence.write(attendance));
        Box::pin(ready(vec![Ok(MembershipState::Known); attendances.len()]))
    }

    fn renew_members<'a>(
        &'a self,
        _: Duration,
        renewals: &'a [Renewal],
    ) -> BoxFuture<'a, Vec<Result<MembershipState, Unavailable>>> {
        Box::pin(ready(vec![Ok(MembershipState::Known); renewals.len()]))
    }

    fn members(&self, channel: Channel) -> BoxFuture<'_, Result<Members, Unavailable>> {
        Box::pin(ready(Ok(self.presence.members(&channel))))
    }
}

/// Notifies the only node, which stores revocations itself.
impl Revoking for MemoryBroker {
    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<(), Unavailable>> {
        (self.sink)(BrokerEvent::Revoked { user: &revocation.user, before: revocation.before });
        Box::pin(ready(Ok(())))
    }
}

/// The only node receives its own announcements.
impl Announcing for MemoryBroker {
    fn announce(&self, announcement: Announcement) -> BoxFuture<'_, Result<(), Unavailable>> {
        (self.sink)(BrokerEvent::Announced(announcement));
        Box::pin(ready(Ok(())))
    }
}
