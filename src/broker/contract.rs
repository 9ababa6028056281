//! What every broker does, beside its parts in presence, revocations and announcements.

use futures_util::future::BoxFuture;

use super::announcement::Announcing;
use super::presence::Presences;
use super::receipt::Receipt;
use super::revocation::Revoking;
use super::unavailable::Unavailable;
use crate::publication::{Channel, Position, Publication};
use crate::rules::Rules;

/// Which part of a channel's history is read, a page at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// What follows the position, oldest first.
    After(Position),
    /// What stands before the position, newest first.
    Before(Position),
    /// The newest, newest first.
    Newest,
}

/// Most publications of one [`Page`], so that neither Redis nor the node is busy with one for long.
pub const PAGE_MAX: usize = 128;

/// Carries publications between nodes and what they say of themselves, keeps the history of channels
/// whose rule asks for it, who is in a channel, and whose tokens are revoked.
pub trait Broker: Presences + Revoking + Announcing + Send + Sync {
    /// Hands over a publication. Publications of one channel keep the order they are handed over in.
    ///
    /// Resolves to its position where the channel keeps history; the same `id` is published once
    /// within `history.idempotency_window` and resolves to the first one's position.
    fn publish(&self, channel: Channel, publication: Publication) -> Receipt<Option<Position>>;

    /// May sessions take more from their clients?
    fn has_room(&self) -> bool;

    /// Resolves once there is room. Cancel safe.
    fn room(&self) -> BoxFuture<'_, ()>;

    /// Wants the channel's publications. Asking again is harmless; the receipt comes once they flow,
    /// about when [`Event::Subscribed`](super::event::BrokerEvent::Subscribed) does.
    fn subscribe(&self, channel: &Channel) -> Receipt<()>;

    /// No longer wants them. Takes effect a little later, in case somebody returns.
    fn unsubscribe(&self, channel: &Channel);

    /// The rules will be these in a moment. Resolves when it is ready for them, within a bounded time.
    fn follow_rules(&self, rules: &Rules) -> BoxFuture<'_, ()>;

    /// Can it be used? If not, why.
    fn ready(&self) -> Result<(), String>;

    /// How many nodes subscribe to each of the channels.
    fn nodes(&self, channels: Vec<Channel>) -> BoxFuture<'_, Result<Vec<u64>, Unavailable>>;

    /// Where the history of each of these channels ends, in their order; it is begun where there is
    /// none. None: the broker keeps none of this channel after all.
    fn positions(
        &self,
        channels: Vec<Channel>,
    ) -> BoxFuture<'_, Vec<Result<Option<Position>, Unavailable>>>;

    /// Reads up to `count` publications (at most [`PAGE_MAX`]) of a channel's history, each with its
    /// position; none that is older than the rule's age.
    fn history(
        &self,
        channel: Channel,
        page: Page,
        count: usize,
    ) -> BoxFuture<'_, Result<Vec<Publication>, Unavailable>>;
}
