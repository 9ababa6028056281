//! The interface of a broker. Presence, revocations, announcements, runs and streams have traits of their own.

use futures_util::future::BoxFuture;

use super::announcement::Announcing;
use super::event_log::{EventLog, EventLogConfig};
use super::presence::Presences;
use super::receipt::Receipt;
use super::revocation::Revoking;
use super::run::{HistoryEnd, Runs};
use super::streams::StreamStore;
use super::unavailable::Unavailable;
use crate::publication::{Channel, Position, Publication};
use crate::rules::{Pattern, Rules};

/// Which page of a channel's history to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Publications after the position, oldest first.
    After(Position),
    /// Publications before the position, newest first.
    Before(Position),
    /// The newest publications, newest first.
    Newest,
}

/// Maximum number of publications in one [`Page`], so that one page keeps neither Redis nor the
/// node busy for long.
pub const PAGE_MAX: usize = 128;

/// Carries publications and announcements between nodes, and stores channel histories, presence and
/// revocations.
pub trait Broker: Presences + Revoking + Announcing + Runs + StreamStore + Send + Sync {
    /// Publishes. Publications of one channel keep their order.
    ///
    /// Resolves to the position where the channel keeps history. A repeated `id` is published once
    /// within `history.idempotency_window` and resolves to the position of the first.
    fn publish(&self, channel: Channel, publication: Publication) -> Receipt<Option<Position>>;

    /// Whether sessions may read more publications from their clients.
    fn has_capacity(&self) -> bool;

    /// Resolves once [`Broker::has_capacity`] is true. Cancel safe.
    fn wait_for_capacity(&self) -> BoxFuture<'_, ()>;

    /// Subscribes to the channel's publications. Repeating it is harmless. The receipt resolves
    /// once the subscription is live, at about the time of
    /// [`BrokerEvent::Subscribed`](super::event::BrokerEvent::Subscribed).
    fn subscribe(&self, channel: &Channel) -> Receipt<()>;

    /// Unsubscribes after a short delay, in case another subscriber arrives.
    fn unsubscribe(&self, channel: &Channel);

    /// Delivers the publications of all channels that match one of the rules' patterns, and no longer those of patterns
    /// that are not among them. Resolves once all are live; it takes effect also if its result is dropped.
    fn follow_patterns(&self, wanted: Vec<Pattern>) -> BoxFuture<'static, Result<(), Unavailable>>;

    /// Prepares for rules that take effect in a moment. Resolves when the broker is ready for them,
    /// within a bounded time.
    fn follow_rules(&self, rules: &Rules) -> BoxFuture<'_, ()>;

    /// What carries the publications: `memory` or `redis`.
    fn kind(&self) -> &'static str;

    /// `Err`: why the broker cannot be used now.
    fn ready(&self) -> Result<(), String>;

    /// The log of this node's events for the backend. `None`: the broker keeps none.
    fn event_log(&self, config: EventLogConfig) -> Option<Box<dyn EventLog>>;

    /// The number of nodes that subscribe to each of the channels.
    fn nodes(&self, channels: Vec<Channel>) -> BoxFuture<'_, Result<Vec<u64>, Unavailable>>;

    /// The channels to which any node subscribes and whose names begin with the prefix, unordered. `None`: the broker has
    /// one node, which knows them.
    fn channels(&self, prefix: &str) -> BoxFuture<'_, Result<Option<Vec<Channel>>, Unavailable>>;

    /// Where the history of each channel ends, in their order; starts a history where there is none.
    /// `None`: the broker keeps no history of this channel.
    fn positions(
        &self,
        channels: Vec<Channel>,
    ) -> BoxFuture<'_, Vec<Result<Option<HistoryEnd>, Unavailable>>>;

    /// Reads up to `count` publications (at most [`PAGE_MAX`]) of a channel's history, each with
    /// its position, and none older than the rule's age.
    fn history(
        &self,
        channel: Channel,
        page: Page,
        count: usize,
    ) -> BoxFuture<'_, Result<Vec<Publication>, Unavailable>>;
}
