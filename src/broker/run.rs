//! Runs: the end and the lease of a channel's stream.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::receipt::Receipt;
use super::unavailable::Unavailable;
use crate::publication::{Channel, EndReason, Position, Publication};

/// Where a channel's history ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEnd {
    /// The last position.
    pub position: Position,
    /// Some: the newest entry is the end of a run, which ended for this reason.
    pub ended: Option<EndReason>,
}

/// The state of a channel's run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Nothing was published, or the channel's rule has no run.
    None,
    /// Its lease lasts for so long.
    Open(Duration),
    /// It has ended at this position, and the end was published.
    Ended(Position),
}

/// Ends and renews runs.
///
/// A run whose lease is over ends with the reason `abandoned` as soon as any method of the broker finds that, and the
/// broker publishes its end like a publication.
pub trait Runs {
    /// Ends the run and publishes its end, after the `last` publication if that has a payload: both in one step.
    ///
    /// Resolves to the position of the end. Fails with [`ENDED`](super::ENDED) if the run has ended, and with
    /// [`NO_RUN`](super::NO_RUN) if there is none.
    fn end(
        &self,
        channel: Channel,
        reason: EndReason,
        last: Publication,
    ) -> Receipt<Option<Position>>;

    /// Renews the lease of a run whose worker has nothing to publish now. Returns how long it lasts. Fails as
    /// [`Runs::end`].
    fn renew(&self, channel: Channel) -> BoxFuture<'_, Result<Duration, Unavailable>>;

    /// The state of the run on each channel, in their order.
    fn check_runs(
        &self,
        channels: Vec<Channel>,
    ) -> BoxFuture<'_, Vec<Result<RunState, Unavailable>>>;
}
