//! The Redis broker. It uses plain `PUBLISH` and `SUBSCRIBE`, so that a service can publish and
//! subscribe with any Redis client. Redis 7 is one server, a master with sentinels, or a cluster.
//!
//! A *lane* is everything that talks to one master. The *lane map* finds the lane of a channel, and
//! the *topology* finds the masters. One server has one lane that never changes; with sentinels,
//! a failover replaces the lane; a cluster has several lanes and shares its slots among them.
//!
//! A lane has two connections, each owned by one task. The publisher sends publications in batches.
//! The subscriber reconciles the wanted channels with those that Redis has confirmed. Reconnecting,
//! subscribing again and detecting loss are implemented here, because the crate's own retries give
//! up, ignore errors, or lose data silently. The subscriber also parses its input itself (`resp.rs`
//! gives the reason). Other commands (history, presence, revocations, `PUBSUB NUMSUB`) use a small
//! pool.

mod announcement;
pub mod connection;
mod context;
mod event_log;
mod functions;
#[doc(hidden)]
pub mod header;
mod history;
mod lanes;
mod moving;
mod pattern_channels;
mod patterns;
mod presence;
mod publishing;
mod pubsub;
mod queries;
mod revocation;
mod rules;
mod runs;
pub mod secret;
mod sibling_key;
mod state;
mod streams;
mod subscribing;
pub mod survey;
mod tasks;
mod topology;
pub mod url;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use self::context::RedisContext;
use self::event_log::RedisEventLog;
use self::event_log::calls::EventCalls;
use self::history::RedisHistory;
use self::presence::RedisPresence;
use self::queries::Queries;
use self::revocation::RedisRevocations;
use self::revocation::reading;
use self::rules::{following, installing};
use self::runs::RedisRuns;
use self::streams::RedisStreams;
use self::subscribing::{channels, nodes};
use self::url::Deployment;
use super::announcement::{Announcement, Announcing};
use super::config::Config;
use super::contract::{Broker, PAGE_MAX, Page};
use super::event::Sink;
use super::event_log::{EventLog, EventLogConfig};
use super::presence::{Attendance, MembershipState, Presences, Renewal};
use super::receipt::Receipt;
use super::revocation::{Revocation, Revoking};
use super::run::{HistoryEnd, RunState, Runs};
use super::streams::{CommitOutcome, StoredStream, StreamCommit, StreamStore};
use super::unavailable::Unavailable;
use crate::critical_tasks;
use crate::publication::{Channel, EndReason, Members, NodeId, Position, Publication};
use crate::rules::{Pattern, Rules};

/// The Redis broker: its parts, and the context they share.
pub struct RedisBroker {
    context: Arc<RedisContext>,
    history: RedisHistory,
    presence: RedisPresence,
    revocations: RedisRevocations,
    runs: RedisRuns,
    streams: RedisStreams,
}

impl RedisBroker {
    /// Returns immediately, whether Redis is reachable or not: the tasks connect, and retry for
    /// ever.
    pub fn start(config: &Config, deployment: &Deployment, node: NodeId, sink: Sink) -> Self {
        let context = Arc::new(RedisContext::new(config, deployment, node, sink));
        topology::start(&context, deployment);
        let reading = reading::run(context.clone());
        critical_tasks::spawn("revocations", async { match reading.await {} });
        let following = following::run(context.clone());
        critical_tasks::spawn("fleet's rules", async { match following.await {} });
        Self::with_context(context)
    }

    /// Starts a broker for a command that publishes and subscribes for a short time. It changes
    /// nothing of the fleet: it installs no functions and no rules, and announces nothing.
    pub fn connect_for_command(
        config: &Config,
        deployment: &Deployment,
        node: NodeId,
        sink: Sink,
    ) -> Self {
        let context = Arc::new(RedisContext::new(config, deployment, node, sink).for_command());
        topology::start(&context, deployment);
        Self::with_context(context)
    }

    fn with_context(context: Arc<RedisContext>) -> Self {
        let questions = Queries { context: context.clone() };
        Self {
            context,
            history: RedisHistory { queries: questions.clone() },
            presence: RedisPresence { queries: questions.clone() },
            runs: RedisRuns { queries: questions.clone() },
            streams: RedisStreams { queries: questions.clone() },
            revocations: RedisRevocations::new(questions),
        }
    }
}

impl Broker for RedisBroker {
    fn publish(&self, channel: Channel, publication: Publication) -> Receipt<Option<Position>> {
        self.context.publish(channel, publication)
    }

    fn has_capacity(&self) -> bool {
        self.context.intake.has_capacity()
    }

    fn wait_for_capacity(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.context.intake.wait_for_capacity())
    }

    fn subscribe(&self, channel: &Channel) -> Receipt<()> {
        if self.context.keeps_presence(channel) {
            // Joins and leaves arrive on that channel. The caller does not wait for its
            // confirmation.
            drop(self.context.map.subscribe(&self.context.presence_channel(channel)));
        }
        self.context.map.subscribe(channel)
    }

    fn unsubscribe(&self, channel: &Channel) {
        // Also if the rule keeps no presence now: it may have when the channel was subscribed.
        self.context.map.unsubscribe(&self.context.presence_channel(channel));
        self.context.map.unsubscribe(channel);
    }

    fn follow_patterns(&self, wanted: Vec<Pattern>) -> BoxFuture<'static, Result<(), Unavailable>> {
        patterns::follow(&self.context, &wanted)
    }

    fn follow_rules(&self, rules: &Rules) -> BoxFuture<'_, ()> {
        let library = self.context.library.get().with_rules(rules);
        self.context.library.replace(library);
        Box::pin(installing::install_everywhere(&self.context))
    }

    fn kind(&self) -> &'static str {
        "redis"
    }

    fn ready(&self) -> Result<(), String> {
        self.context.state.ready()
    }

    fn event_log(&self, config: EventLogConfig) -> Option<Box<dyn EventLog>> {
        let calls = EventCalls::new(config, self.context.node);
        let queries = Queries { context: self.context.clone() };
        Some(Box::new(RedisEventLog::new(queries, calls)))
    }

    fn nodes(&self, channels: Vec<Channel>) -> BoxFuture<'_, Result<Vec<u64>, Unavailable>> {
        Box::pin(async move { nodes::nodes(&self.context, &channels).await })
    }

    fn channels(&self, prefix: &str) -> BoxFuture<'_, Result<Option<Vec<Channel>>, Unavailable>> {
        let prefix = prefix.to_owned();
        Box::pin(async move { channels::channels(&self.context, &prefix).await.map(Some) })
    }

    fn positions(
        &self,
        channels: Vec<Channel>,
    ) -> BoxFuture<'_, Vec<Result<Option<HistoryEnd>, Unavailable>>> {
        Box::pin(async move { self.history.positions(&channels).await })
    }

    fn history(
        &self,
        channel: Channel,
        page: Page,
        count: usize,
    ) -> BoxFuture<'_, Result<Vec<Publication>, Unavailable>> {
        Box::pin(self.history.page(channel, page, count.min(PAGE_MAX)))
    }
}

impl Runs for RedisBroker {
    /// By the queue of publications, so that the end follows what was published before it.
    fn end(
        &self,
        channel: Channel,
        reason: EndReason,
        last: Publication,
    ) -> Receipt<Option<Position>> {
        self.publish(channel, Publication { end: Some(reason), ..last })
    }

    fn renew(&self, channel: Channel) -> BoxFuture<'_, Result<Duration, Unavailable>> {
        Box::pin(self.runs.renew(channel))
    }

    fn check_runs(
        &self,
        channels: Vec<Channel>,
    ) -> BoxFuture<'_, Vec<Result<RunState, Unavailable>>> {
        Box::pin(async move { self.runs.check(&channels).await })
    }
}

impl StreamStore for RedisBroker {
    fn stream(
        &self,
        channel: Channel,
        fields: Vec<String>,
    ) -> BoxFuture<'_, Result<StoredStream, Unavailable>> {
        Box::pin(self.streams.read(channel, fields))
    }

    fn renew_stream(&self, channel: Channel) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(self.streams.renew(channel))
    }

    fn commit_stream(
        &self,
        channel: Channel,
        commit: StreamCommit,
    ) -> BoxFuture<'_, Result<CommitOutcome, Unavailable>> {
        Box::pin(self.streams.commit(channel, commit))
    }
}

impl Presences for RedisBroker {
    fn write_members<'a>(
        &'a self,
        ttl: Duration,
        attendances: &'a [Attendance],
    ) -> BoxFuture<'a, Vec<Result<MembershipState, Unavailable>>> {
        Box::pin(self.presence.write(ttl, attendances))
    }

    fn renew_members<'a>(
        &'a self,
        ttl: Duration,
        renewals: &'a [Renewal],
    ) -> BoxFuture<'a, Vec<Result<MembershipState, Unavailable>>> {
        Box::pin(self.presence.renew(ttl, renewals))
    }

    fn members(&self, channel: Channel) -> BoxFuture<'_, Result<Members, Unavailable>> {
        Box::pin(self.presence.members(channel))
    }
}

impl Revoking for RedisBroker {
    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(self.revocations.revoke(revocation))
    }
}

impl Announcing for RedisBroker {
    fn announce(&self, announcement: Announcement) -> BoxFuture<'_, Result<(), Unavailable>> {
        let rules = Some(self.context.library.get().hash());
        let message = announcement::write(Announcement { rules, ..announcement });
        let publication = Publication::bare(message.into());
        let receipt = self.publish(announcement::channel(), publication);
        Box::pin(async { receipt.await.map(|_| ()) })
    }
}
