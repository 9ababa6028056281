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
mod companion;
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
mod questions;
mod revocation;
mod rules;
mod secret;
mod state;
mod subscribing;
mod survey;
mod topology;
mod url;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use self::context::Context;
use self::lanes::lane::Lane;
pub use self::secret::Secret;
pub use self::survey::survey;
pub use self::url::{Deployment, Url};
use super::{Broker, Config, PAGE_MAX, Page, Receipt, Sink, Unavailable};
use crate::publication::{Channel, NodeId, Position, Publication};
use crate::rules::Rules;
use crate::{telemetry, vital};

/// Most channels in one question or command, so that Redis is never busy with one for long.
const CHANNELS_PER_COMMAND_MAX: usize = 1000;

const SILENT: Unavailable = Unavailable("redis does not answer");
const NOT_UNDERSTOOD: Unavailable = Unavailable("redis answered what is no answer to the question");

/// The broker that is Redis.
pub struct Redis(Arc<Context>);

impl Redis {
    /// Returns at once, whether Redis is there or not: the tasks connect, and try again for ever.
    pub fn start(config: &Config, deployment: &Deployment, node: NodeId, sink: Sink) -> Self {
        let context = Arc::new(Context::new(config, deployment, node, sink));
        topology::start(&context, deployment);
        let revoking = revocation::run(context.clone());
        vital::spawn("revocations", async { match revoking.await {} });
        let following = rules::following::run(context.clone());
        vital::spawn("fleet's rules", async { match following.await {} });
        Self(context)
    }

    /// The same for one that publishes and subscribes for a while, and changes nothing of the fleet: it
    /// installs no functions and no rules, and tells nodes nothing.
    pub fn visit(config: &Config, deployment: &Deployment, node: NodeId, sink: Sink) -> Self {
        let context = Arc::new(Context::new(config, deployment, node, sink).visiting());
        topology::start(&context, deployment);
        Self(context)
    }

    /// How many nodes subscribe to each of these channels of one lane.
    async fn nodes_of(
        &self,
        lane: &Lane,
        channels: &[(usize, &Channel)],
    ) -> Result<Vec<u64>, Unavailable> {
        let count = if self.0.map.is_sharded() { "SHARDNUMSUB" } else { "NUMSUB" };
        let mut nodes = Vec::with_capacity(channels.len());
        for some in channels.chunks(CHANNELS_PER_COMMAND_MAX) {
            let mut command = ::redis::cmd("PUBSUB");
            command.arg(count);
            for (_, channel) in some {
                command.arg(self.0.name(channel));
            }
            let counts: Vec<(Vec<u8>, u64)> = lane.query(&command).await.map_err(|error| {
                telemetry::broker_refused("PUBSUB NUMSUB", "", &error);
                SILENT
            })?;
            nodes.extend(counts.into_iter().map(|(_, subscribers)| subscribers));
        }
        Ok(nodes)
    }
}

impl Broker for Redis {
    fn publish(&self, channel: Channel, publication: Publication) -> Receipt<Option<Position>> {
        self.0.map.publish(&self.0.intake, channel, publication)
    }

    fn has_room(&self) -> bool {
        self.0.intake.has_room()
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.intake.room())
    }

    fn subscribe(&self, channel: &Channel) -> Receipt<()> {
        if let Some(roster) = self.0.roster_of(channel) {
            // Who comes and goes is told there. Nobody waits for that.
            drop(self.0.map.subscribe(&roster));
        }
        self.0.map.subscribe(channel)
    }

    fn unsubscribe(&self, channel: &Channel) {
        // Whether its rule keeps presence now or did when it was subscribed.
        self.0.map.unsubscribe(&self.0.roster(channel));
        self.0.map.unsubscribe(channel);
    }

    fn follow_rules(&self, rules: &Rules) -> BoxFuture<'_, ()> {
        let context = &self.0;
        let library = context.library.get().with_rules(rules);
        context.library.replace(library);
        Box::pin(context.bring_rules())
    }

    fn ready(&self) -> Result<(), String> {
        self.0.state.ready()
    }

    fn nodes(&self, channels: Vec<Channel>) -> BoxFuture<'_, Result<Vec<u64>, Unavailable>> {
        Box::pin(async move {
            let mut nodes = vec![0; channels.len()];
            for (lane, channels) in self.0.map.by_lane(&channels) {
                let lane = lane.ok_or(SILENT)?;
                let counts = self.nodes_of(&lane, &channels).await?;
                for ((at, _), count) in channels.iter().zip(counts) {
                    nodes[*at] = count;
                }
            }
            Ok(nodes)
        })
    }

    fn positions(
        &self,
        channels: Vec<Channel>,
    ) -> BoxFuture<'_, Vec<Result<Option<Position>, Unavailable>>> {
        Box::pin(async move {
            let answers = self.ends(&channels).await;
            let position = |answer| history::calls::position(&answer).ok_or(NOT_UNDERSTOOD);
            answers.into_iter().map(|answer| answer.and_then(position)).collect()
        })
    }

    fn history(
        &self,
        channel: Channel,
        page: Page,
        count: usize,
    ) -> BoxFuture<'_, Result<Vec<Publication>, Unavailable>> {
        Box::pin(self.page(channel, page, count.min(PAGE_MAX)))
    }
}
