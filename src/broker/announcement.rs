//! What nodes tell each other of themselves: how many connections each has, whether it stays, and
//! which rules it goes by.

use futures_util::future::BoxFuture;

use crate::broker::unavailable::Unavailable;
use crate::publication::NodeId;

/// What a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub node: NodeId,
    pub stage: NodeStage,
    pub connections: u64,
    /// How long it holds, in milliseconds: by then the node says it anew, or is gone.
    pub holds_ms: u64,
    /// Tells the node's rules for Redis from others; the broker fills it in. None: the node says nothing
    /// of them, as those of earlier versions, or has none.
    pub rules: Option<u64>,
}

/// Where a node is in its life, as far as others care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeStage {
    /// It takes clients.
    Serving,
    /// It has some, and takes no more: it leaves, is not ready, or is full.
    Leaving,
    /// It ends this moment.
    Gone,
}

/// Carries announcements to all nodes.
pub trait Announcing {
    /// Tells every node, this one too, by an [`Event::Announced`](super::event::BrokerEvent::Announced). Kept nowhere:
    /// who is not there does not hear it.
    fn announce(&self, announcement: Announcement) -> BoxFuture<'_, Result<(), Unavailable>>;
}
