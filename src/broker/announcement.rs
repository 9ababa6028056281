//! What nodes announce to each other: how many connections each has, its stage, and which rules it
//! uses.

use futures_util::future::BoxFuture;

use crate::broker::unavailable::Unavailable;
use crate::publication::NodeId;

/// One node's announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub node: NodeId,
    pub stage: NodeStage,
    pub connections: u64,
    /// Lifetime in milliseconds: the node announces again before it ends, or counts as gone.
    pub holds_ms: u64,
    /// Hash that distinguishes the node's rules for Redis from other rules; the broker fills it in.
    /// `None`: the node has no rules, or is of an earlier version that does not announce them.
    pub rules: Option<u64>,
}

/// A node's stage of life, as far as other nodes need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeStage {
    /// The node accepts clients.
    Serving,
    /// The node has connections and accepts no more: it drains, is not ready, or is full.
    Leaving,
    /// The node stops now.
    Gone,
}

/// Sends announcements to all nodes.
pub trait Announcing {
    /// Sends the announcement to every node, this one included, as a
    /// [`BrokerEvent::Announced`](super::event::BrokerEvent::Announced). It is not stored: a node
    /// that is not connected misses it.
    fn announce(&self, announcement: Announcement) -> BoxFuture<'_, Result<(), Unavailable>>;
}
