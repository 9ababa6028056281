//! The presence interface of a broker: it stores the members of each channel over all nodes and
//! notifies the nodes of joins and leaves.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::broker::unavailable::Unavailable;
use crate::publication::{Channel, Member, Members};

/// Maximum number of members in all attendances of one call, so that one call does not keep the
/// broker busy for long.
pub const ATTENDANCES_MAX: usize = 500;

/// Maximum number of channels renewed in one call.
pub const RENEWALS_MAX: usize = 250;

/// Maximum number of members in one reply. A larger channel's reply holds a part of its members.
pub const MEMBERS_MAX: usize = 10_000;

/// How many sessions some of a channel's users have on this node now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attendance {
    pub channel: Channel,
    /// Each user once, at least one user. The call writes the state and not the change, so
    /// repeating it is harmless.
    pub members: Vec<Member>,
    /// Whether users who get their first session in the fleet, or lose their last, are announced as
    /// joins and leaves.
    pub announce: bool,
}

/// A channel whose members are renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    pub channel: Channel,
    /// How many members of this node the broker should have, which reveals what a failover lost.
    /// `None`: unknown, because a call failed.
    pub members: Option<usize>,
}

/// What the broker knew about this node's members of a channel when it was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipState {
    /// The members that the node wrote are stored.
    Known,
    /// Some of the node's members are missing, without leaves having been sent: Redis started
    /// empty, lost writes in a failover, or the node is new in the channel.
    Forgotten,
    /// The node counted as crashed, and leaves have been sent.
    Removed,
}

/// Stores the members of channels. A node's members leave a channel when the node has not renewed
/// them for `ttl`.
///
/// One task writes and renews, one call at a time. Every call returns within a few seconds,
/// whatever the broker does.
pub trait Presences {
    /// Writes members of this node, at most [`ATTENDANCES_MAX`]; one reply for each attendance, in
    /// their order. `Unavailable`: they may have been written.
    ///
    /// A user's first session in the fleet, and the end of the last, becomes a
    /// [`BrokerEvent::Presence`](super::event::BrokerEvent::Presence) on every node that subscribes
    /// to the channel.
    fn write_members<'a>(
        &'a self,
        ttl: Duration,
        attendances: &'a [Attendance],
    ) -> BoxFuture<'a, Vec<Result<MembershipState, Unavailable>>>;

    /// Renews this node's members of these channels, at most [`RENEWALS_MAX`], and removes those of
    /// crashed nodes; one reply for each channel, in their order.
    fn renew_members<'a>(
        &'a self,
        ttl: Duration,
        renewals: &'a [Renewal],
    ) -> BoxFuture<'a, Vec<Result<MembershipState, Unavailable>>>;

    /// The channel's members over all nodes, at most [`MEMBERS_MAX`].
    fn members(&self, channel: Channel) -> BoxFuture<'_, Result<Members, Unavailable>>;
}
