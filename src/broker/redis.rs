//! Redis 7: plain `PUBLISH` and `SUBSCRIBE`, so that any service takes part without a library; one
//! server, one that sentinels guard, or a cluster.
//!
//! All that speaks to one master is a *lane*; the *map* knows which lane has a channel, and the
//! *topology* which masters there are. One server is a map of one lane that never changes, sentinels
//! exchange the one lane for another, a cluster has several and shares its slots out among them.
//!
//! A lane has two connections, each with a task that owns it: the publisher's, which batches, and
//! the subscriber's, which reconciles what is wanted with what Redis has confirmed. Reconnecting,
//! subscribing again and noticing loss are done here: the crate's own retries give up, ignore
//! errors, or lose in silence. The subscriber also reads for itself (`resp.rs` says why).
//! Questions (history, presence, revocations, `PUBSUB NUMSUB`) go through a small pool.

mod announcement;
pub mod connection;
mod context;
mod functions;
#[doc(hidden)]
pub mod header;
mod history;
mod lanes;
mod moving;
mod presence;
mod publishing;
mod pubsub;
mod questions;
mod revocation;
mod rules;
pub mod secret;
mod sibling_key;
mod state;
mod subscribing;
pub mod survey;
mod tasks;
mod topology;
pub mod url;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use self::context::RedisContext;
use self::history::RedisHistory;
use self::presence::RedisPresence;
use self::questions::Questions;
use self::revocation::RedisRevocations;
use self::revocation::reading;
use self::rules::{following, installing};
use self::subscribing::nodes;
use self::url::Deployment;
use super::announcement::{Announcement, Announcing};
use super::config::Config;
use super::contract::{Broker, PAGE_MAX, Page};
use super::event::Sink;
use super::presence::{Attendance, MembershipState, Presences, Renewal};
use super::receipt::Receipt;
use super::revocation::{Revocation, Revoking};
use super::unavailable::Unavailable;
use crate::critical_tasks;
use crate::publication::{Channel, Members, NodeId, Position, Publication};
use crate::rules::Rules;

/// The broker that is Redis: its parts, and what they share.
pub struct RedisBroker {
    context: Arc<RedisContext>,
    history: RedisHistory,
    presence: RedisPresence,
    revocations: RedisRevocations,
}

impl RedisBroker {
    /// Returns at once, whether Redis is there or not: the tasks connect, and try again for ever.
    pub fn start(config: &Config, deployment: &Deployment, node: NodeId, sink: Sink) -> Self {
        let context = Arc::new(RedisContext::new(config, deployment, node, sink));
        topology::start(&context, deployment);
        let reading = reading::run(context.clone());
        critical_tasks::spawn("revocations", async { match reading.await {} });
        let following = following::run(context.clone());
        critical_tasks::spawn("fleet's rules", async { match following.await {} });
        Self::of(context)
    }

    /// The same for one that publishes and subscribes for a while, and changes nothing of the fleet: it
    /// installs no functions and no rules, and tells nodes nothing.
    pub fn visit(config: &Config, deployment: &Deployment, node: NodeId, sink: Sink) -> Self {
        let context = Arc::new(RedisContext::new(config, deployment, node, sink).visiting());
        topology::start(&context, deployment);
        Self::of(context)
    }

    fn of(context: Arc<RedisContext>) -> Self {
        let questions = Questions { context: context.clone() };
        Self {
            context,
            history: RedisHistory { questions: questions.clone() },
            presence: RedisPresence { questions: questions.clone() },
            revocations: RedisRevocations::new(questions),
        }
    }
}

impl Broker for RedisBroker {
    fn publish(&self, channel: Channel, publication: Publication) -> Receipt<Option<Position>> {
        self.context.publish(channel, publication)
    }

    fn has_room(&self) -> bool {
        self.context.intake.has_room()
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.context.intake.room())
    }

    fn subscribe(&self, channel: &Channel) -> Receipt<()> {
        if self.context.keeps_presence(channel) {
            // Who comes and goes is told there. Nobody waits for that.
            drop(self.context.map.subscribe(&self.context.presence_channel(channel)));
        }
        self.context.map.subscribe(channel)
    }

    fn unsubscribe(&self, channel: &Channel) {
        // Whether its rule keeps presence now or did when it was subscribed.
        self.context.map.unsubscribe(&self.context.presence_channel(channel));
        self.context.map.unsubscribe(channel);
    }

    fn follow_rules(&self, rules: &Rules) -> BoxFuture<'_, ()> {
        let library = self.context.library.get().with_rules(rules);
        self.context.library.replace(library);
        Box::pin(installing::bring(&self.context))
    }

    fn ready(&self) -> Result<(), String> {
        self.context.state.ready()
    }

    fn nodes(&self, channels: Vec<Channel>) -> BoxFuture<'_, Result<Vec<u64>, Unavailable>> {
        Box::pin(async move { nodes::nodes(&self.context, &channels).await })
    }

    fn positions(
        &self,
        channels: Vec<Channel>,
    ) -> BoxFuture<'_, Vec<Result<Option<Position>, Unavailable>>> {
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
        let message = announcement::written(Announcement { rules, ..announcement });
        let publication = Publication::bare(message.into());
        let receipt = self.publish(announcement::channel(), publication);
        Box::pin(async { receipt.await.map(|_| ()) })
    }
}
