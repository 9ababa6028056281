//! The broker's part in presence: it keeps who is in a channel, over all nodes, and tells the nodes
//! of joins and leaves.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::broker::unavailable::Unavailable;
use crate::publication::{Channel, Member, Members};

/// Most members in all attendances of one call, so that the broker is never busy with one for long.
pub const ATTENDANCES_MAX: usize = 500;

/// Most channels renewed in one call.
pub const RENEWALS_MAX: usize = 250;

/// Most members read from the broker for one answer. Who asks gets the truth about up to so many;
/// of a larger channel, a part.
pub const MEMBERS_MAX: usize = 10_000;

/// How many sessions some of a channel's users have on this node, now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attendance {
    pub channel: Channel,
    /// Each user once, at least one. What is written is the state and not the change, so that
    /// writing it twice does no harm.
    pub members: Vec<Member>,
    /// Are those who had no session on any node, or have none any more, told of as joins and leaves?
    pub announce: bool,
}

/// A channel to renew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    pub channel: Channel,
    /// How many members the broker should have of this node, which shows what a failover lost. None:
    /// a call failed, and nobody knows.
    pub members: Option<usize>,
}

/// What the broker knew of this node in a channel when it was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipState {
    /// The members it wrote are there.
    Known,
    /// Not all are, and nobody was told that they left: Redis started empty or lost writes in a
    /// failover, or the node is new there.
    Forgotten,
    /// The node counted as crashed, and leaves were told of.
    Removed,
}

/// Keeps the members of channels. A node's members of a channel leave when it has not renewed them
/// for `ttl`.
///
/// Written and renewed from one task, one call at a time. All answer within a few seconds, whatever
/// the broker does.
pub trait Presences {
    /// Writes members of this node, at most [`ATTENDANCES_MAX`]; one answer for each attendance, in
    /// their order. `Unavailable`: it may have been written all the same.
    ///
    /// Whoever comes to the first session of the fleet, or leaves the last, becomes an
    /// [`Event::Presence`](super::event::BrokerEvent::Presence) on every node that wants the channel.
    fn write_members<'a>(
        &'a self,
        ttl: Duration,
        attendances: &'a [Attendance],
    ) -> BoxFuture<'a, Vec<Result<MembershipState, Unavailable>>>;

    /// Renews what this node wrote in these channels, at most [`RENEWALS_MAX`], and removes what
    /// crashed nodes left there; one answer a channel, in their order.
    fn renew_members<'a>(
        &'a self,
        ttl: Duration,
        renewals: &'a [Renewal],
    ) -> BoxFuture<'a, Vec<Result<MembershipState, Unavailable>>>;

    /// The channel's members, over all nodes; at most [`MEMBERS_MAX`].
    fn members(&self, channel: Channel) -> BoxFuture<'_, Result<Members, Unavailable>>;
}
