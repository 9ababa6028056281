//! Whether there is a run for a session to follow.

use crate::broker::{RunState, Unavailable};
use crate::close::Close;
use crate::hub::Hub;
use crate::protocol::Id;
use crate::publication::{Channel, Publication};

/// The run on a channel, or why it is unknown.
pub type RunCheck = Result<RunState, Unavailable>;

/// Which runs a session follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunWanted {
    /// One that has not ended.
    Open,
    /// Also one that has ended and is still kept.
    Kept,
}

/// A command to follow a run.
pub struct FollowRequest {
    pub id: Option<Id>,
    pub channel: Channel,
    pub wanted: RunWanted,
    /// What the run's worker is to answer; the run may begin after it.
    pub request: Option<Publication>,
}

/// Finds the run on the channel.
pub async fn find_run(hub: Hub, channel: Channel) -> RunCheck {
    hub.broker().check_runs(vec![channel]).await.pop().unwrap_or(Ok(RunState::None))
}

/// Checks the run that a bound session follows. Fails with the reason for which the session is closed.
pub async fn check_bound_run(hub: Hub, channel: Channel, wanted: RunWanted) -> Result<(), Close> {
    hub.broker().ready().map_err(|_| Close::Unavailable)?;
    match find_run(hub, channel).await {
        Ok(RunState::Open(_)) => Ok(()),
        Ok(RunState::Ended(_)) if wanted == RunWanted::Kept => Ok(()),
        Ok(RunState::None | RunState::Ended(_)) => Err(Close::NoRun),
        Err(Unavailable(_)) => Err(Close::Unavailable),
    }
}
