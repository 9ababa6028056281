//! The interface of a broker that can keep events for the backend: a stream, and beside it what each node holds, so
//! that every change of the fleet becomes one event.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::broker::unavailable::Unavailable;
use crate::publication::{Channel, NodeId, Position, SessionId, User, UserInfo};

/// Maximum number of changes in one batch, so that one call does not keep the broker busy for long.
pub const EVENT_CHANGES_MAX: usize = 250;

/// Where a node's events go.
#[derive(Clone, Debug)]
pub struct EventLogConfig {
    /// The stream's key; begins with the broker's prefix.
    pub stream: String,
    /// How many of the newest entries are kept, at times some more.
    pub size: usize,
    /// A node's items are removed when it has not renewed them for so long.
    pub ttl: Duration,
}

/// What a node holds for as long as it has subscribers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventItem {
    /// A member of a channel. In order before the channel, because the last member leaves before it is vacated.
    Member(Channel, User),
    /// A channel with subscribers.
    Channel(Channel),
}

/// Which changes of an item become events: its first holder in the fleet, the end of the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventEdges {
    First,
    Last,
    Both,
}

/// A change of what a node holds, or an event of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum EventChange {
    /// The node holds the item. Writing it again is harmless.
    Hold { item: EventItem, edges: EventEdges, info: Option<UserInfo> },
    /// The node holds the item no more. Writing it again is harmless.
    Free { item: EventItem, edges: EventEdges },
    /// The session is connected as this user. Writing it again is harmless.
    Connected { session: SessionId, user: User },
    /// The session has ended, for this reason. Writing it again is harmless.
    Disconnected { session: SessionId, reason: &'static str },
    /// A publication was accepted.
    Published(Arc<PublishedEvent>),
}

/// An accepted publication, as the backend gets it.
#[derive(Debug, PartialEq)]
pub struct PublishedEvent {
    pub channel: Channel,
    /// None: a session without a user, or a service.
    pub user: User,
    /// None: a service.
    pub session: Option<SessionId>,
    /// None: the channel keeps no history.
    pub position: Option<Position>,
    /// Of the payload, in bytes.
    pub size: usize,
    /// None: it is larger than a stream of events may hold.
    pub payload: Option<Bytes>,
    pub is_binary: bool,
}

/// Changes that are written in one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventBatch {
    /// Counts the node's batches. A batch with the number of the last one is written once.
    pub number: u64,
    /// In which generation the node holds its items: it increases whenever the node writes all of them again.
    pub generation: u64,
    /// The first batch of its generation.
    pub begins: bool,
    /// At most [`EVENT_CHANGES_MAX`].
    pub changes: Vec<EventChange>,
}

/// The broker's answer to a renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRenewal {
    /// The number of the node's last batch. None: nothing is known of the node.
    pub number: Option<u64>,
    /// Nodes that have not renewed for too long, at most 16.
    pub dead: Vec<NodeId>,
}

/// The events of a fleet. One task of each node calls it, one call at a time. Every call returns within a few
/// seconds, whatever the broker does; after `Unavailable`, it may have been done.
pub trait EventLog: Send + Sync {
    /// Writes a batch. False: the broker did nothing, because it does not know the batch before this one. The node
    /// has to begin a generation, and to write all that it holds.
    fn write<'a>(&'a self, batch: &'a EventBatch) -> BoxFuture<'a, Result<bool, Unavailable>>;

    /// Keeps the node's items.
    fn renew(&self) -> BoxFuture<'_, Result<EventRenewal, Unavailable>>;

    /// Removes some items of a dead node. True: some remain.
    fn remove(&self, node: NodeId) -> BoxFuture<'_, Result<bool, Unavailable>>;

    /// Removes some of the node's items of earlier generations. `cursor`: 0 at first. Returns the next cursor; 0: all
    /// are removed.
    fn sweep(&self, generation: u64, cursor: u64) -> BoxFuture<'_, Result<u64, Unavailable>>;

    /// Ends this node's part. Other nodes that are alive remove its items after `grace`. False: no other node is.
    fn leave(&self, grace: Duration) -> BoxFuture<'_, Result<bool, Unavailable>>;
}
