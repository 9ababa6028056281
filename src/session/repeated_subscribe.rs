//! The reply to a `subscribe` for a channel that the session is subscribed to already.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::hub::Hub;
use crate::outbound::Outbound;
use crate::protocol::{Code, Id, Protocol, Reply, ReplyError, Speak};
use crate::publication::{Channel, Position, ReplayStart};

/// How often, and how long each time, the reply waits until no publication of the channel is being delivered.
/// After that the reply has no position.
const TRIES_MAX: u32 = 200;
const PAUSE: Duration = Duration::from_millis(1);

/// A repeated `subscribe` command.
pub struct RepeatedSubscribe {
    pub id: Option<Id>,
    pub channel: Channel,
    pub start: Option<ReplayStart>,
    /// The number of the existing subscription.
    pub subscription: u64,
}

/// Queues the reply itself, so that its position is exactly that of the last publication queued before it.
/// Returns the reply to send if it could not.
pub async fn answer(
    request: RepeatedSubscribe,
    hub: Hub,
    outbound: Arc<Outbound>,
    protocol: Protocol,
) -> Option<Reply> {
    let RepeatedSubscribe { id, channel, start, subscription } = request;
    let answer = |position: Option<Position>| {
        // Which publications the client has received is unknown here, and none is sent again.
        let recovered = match start {
            Some(ReplayStart::After(since)) => Some(Some(since) == position),
            Some(ReplayStart::First) => Some(false),
            Some(ReplayStart::Newest(_)) | None => None,
        };
        Reply::Subscribed { id: id.clone(), channel: channel.clone(), position, recovered }
    };
    for _ in 0..TRIES_MAX {
        if !outbound.has_subscription(subscription) {
            let message = "no longer subscribed: the rules or the token changed".to_owned();
            let (channel, code) = (Some(channel.to_string()), Code::Forbidden);
            return Some(Reply::Error(ReplyError { id: id.clone(), channel, code, message }));
        }
        if outbound.is_behind(subscription) {
            // It gets publications later that are before the channel's position.
            return Some(answer(None));
        }
        let is_settled = hub.when_settled(&channel, |position| {
            if let Some(frame) = protocol.reply(&answer(position)) {
                outbound.push_own_or_close(frame);
            }
        });
        if is_settled {
            return None;
        }
        sleep(PAUSE).await;
    }
    Some(answer(None))
}
