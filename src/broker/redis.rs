//! Redis 7: plain `PUBLISH` and `SUBSCRIBE`, so that any service takes part without a library.
//!
//! Two connections, each with a task that owns it: the publisher's, which batches, and the
//! subscriber's, which reconciles what is wanted with what Redis has confirmed. Reconnecting,
//! subscribing again and noticing loss are done here: the crate's own retries give up, ignore
//! errors, or lose in silence. The subscriber also reads for itself (`resp.rs` says why).
//! Questions (`PUBSUB NUMSUB`) go through a small pool.

mod companion;
mod feed;
mod header;
mod link;
#[allow(dead_code, reason = "the connections do not call it yet")]
mod presence;
mod publisher;
mod resp;
mod state;
mod subscriber;
mod url;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use self::state::State;
pub use self::url::{Server, Url};
use self::wanted::Wanted;
use super::queue::Queue;
use super::{
    Attendance, Broker, Config, Page, Presences, Receipt, Renewal, Sink, Standing, Unavailable,
};
use crate::publication::{Channel, Members, NodeId, Position, Publication};
use crate::{telemetry, vital};

/// Most channels in one question or command, so that Redis is never busy with one for long.
const CHANNELS_PER_COMMAND_MAX: usize = 1000;

/// The broker that is a Redis server.
pub struct Redis {
    queue: Queue,
    wanted: Arc<Wanted>,
    state: Arc<State>,
    pool: link::Pool,
    prefix: Arc<str>,
}

impl Redis {
    /// Returns at once, whether Redis is there or not: the tasks connect, and try again for ever.
    pub fn start(config: &Config, server: &Server, node: NodeId, sink: Sink) -> Self {
        let (queue, items) = Queue::new(config.publish_timeout);
        let wanted = Arc::new(Wanted::new(config.publish_timeout));
        let state = Arc::new(State::default());
        let prefix: Arc<str> = config.prefix.as_str().into();
        let link = link::Link::new(server);
        let pool = link.pool();
        vital::spawn(
            "publisher",
            publisher::run(link, prefix.clone(), node, queue.clone(), items, state.clone()),
        );
        let subscriber = subscriber::Subscriber {
            server: server.clone(),
            prefix: prefix.clone(),
            node,
            sink,
            wanted: wanted.clone(),
            state: state.clone(),
            queue: queue.clone(),
        };
        vital::spawn("subscriber", subscriber.run());
        Self { queue, wanted, state, pool, prefix }
    }
}

impl Broker for Redis {
    fn publish(&self, channel: Channel, publication: Publication) -> Receipt<Option<Position>> {
        self.queue.push(channel, publication)
    }

    fn has_room(&self) -> bool {
        self.queue.has_room()
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.queue.room())
    }

    fn subscribe(&self, channel: &Channel) -> Receipt<()> {
        self.wanted.subscribe(channel)
    }

    fn unsubscribe(&self, channel: &Channel) {
        self.wanted.unsubscribe(channel);
    }

    fn ready(&self) -> Result<(), String> {
        self.state.ready()
    }

    fn nodes(&self, channels: Vec<Channel>) -> BoxFuture<'_, Result<Vec<u64>, Unavailable>> {
        Box::pin(async move {
            let mut nodes = Vec::with_capacity(channels.len());
            for some in channels.chunks(CHANNELS_PER_COMMAND_MAX) {
                let mut command = ::redis::cmd("PUBSUB");
                command.arg("NUMSUB");
                for channel in some {
                    command.arg(format!("{}{channel}", self.prefix));
                }
                let counts: Vec<(Vec<u8>, u64)> =
                    self.pool.query(&command).await.map_err(|error| {
                        telemetry::broker_refused("PUBSUB NUMSUB", &error);
                        Unavailable("redis does not answer")
                    })?;
                nodes.extend(counts.into_iter().map(|(_, subscribers)| subscribers));
            }
            Ok(nodes)
        })
    }

    fn positions(
        &self,
        channels: Vec<Channel>,
    ) -> BoxFuture<'_, Vec<Result<Option<Position>, Unavailable>>> {
        Box::pin(std::future::ready(vec![Ok(None); channels.len()]))
    }

    fn history(
        &self,
        _: Channel,
        _: Page,
        _: usize,
    ) -> BoxFuture<'_, Result<Vec<Publication>, Unavailable>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

impl Presences for Redis {
    fn write_members<'a>(
        &'a self,
        _: Duration,
        attendances: &'a [Attendance],
    ) -> BoxFuture<'a, Vec<Result<Standing, Unavailable>>> {
        Box::pin(std::future::ready(vec![Err(NO_PRESENCE); attendances.len()]))
    }

    fn renew_members<'a>(
        &'a self,
        _: Duration,
        renewals: &'a [Renewal],
    ) -> BoxFuture<'a, Vec<Result<Standing, Unavailable>>> {
        Box::pin(std::future::ready(vec![Err(NO_PRESENCE); renewals.len()]))
    }

    fn members(&self, _: Channel) -> BoxFuture<'_, Result<Members, Unavailable>> {
        Box::pin(std::future::ready(Err(NO_PRESENCE)))
    }
}

const NO_PRESENCE: Unavailable = Unavailable("presence is not kept in redis yet");
